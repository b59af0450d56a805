"""Fleets that never were, through the same machine, jobs and gates as real ones, with a truth that is known.

Layout:
    candidate.py   what is wrong with the new release, if anything
    group.py       a group of devices minute by minute: load, weather, heat, networks, updates, crashes
    figures.py     what their telemetry says before and after, as gates want it
    ledger.py      jobs, and their counts by stage as they change
    rollout.py     `simulate_rollout`: one rollout from its first minute to its end
    fixtures.py    the release, rollout and devices that are simulated
"""
