"""Figures of the review of telemetry."""
