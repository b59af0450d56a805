"""Rollouts at size: how often gates are right, and what a device costs.

``python -m benchmarks.fleet.NAME --help`` tells of each.
"""
