"""Measurements of the review of telemetry."""
