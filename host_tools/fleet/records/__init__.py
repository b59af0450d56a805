"""What a fleet consists of, one frozen type a record. No database, no network: `store` keeps them, `rollout` decides on them.

Layout:
    devices.py   devices and groups, and what they shall run
    releases.py  versions of a model with their artifacts
    rollouts.py  plans, stages and how far they are
    gates.py     what a release may cost, and what was found of it
    jobs.py      what one device owes one rollout
    access.py    tokens, claim tokens and the audit
"""
