"""What is told: one type an answer. Times are Unix seconds; null: not known, or not yet.

Layout:
    answer.py    what they have in common, and a part of a list
    devices.py   devices, groups, releases, drift
    rollouts.py  rollouts, stages, gates, jobs
    access.py    tokens, claim tokens, the audit
    overview.py  the server and the fleet as a whole
"""
