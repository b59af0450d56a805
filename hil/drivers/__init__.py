"""Drivers for any rig that has a shell and files."""
