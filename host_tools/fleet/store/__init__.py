"""The fleet's records in SQL: SQLite in a file, or PostgreSQL by its address.

Whoever changes something is alone with the store until its transaction ends, and says in the same transaction what was done
(`audit`), what must follow in the world (`effects`) and what whoever looks on shall hear (`changes`).

Layout:
    opening.py      an address -> `FleetStore`, brought to the newest schema
    fleet_store.py  transactions: `reading` and `writing` give a `FleetBook`
    tables.py       the schema as it is now
    migrations/     how it came to be so, version by version
    documents.py    what is kept as JSON inside a column
    chain.py        audit entries, each with the digest of the one before; pure
    audit_file.py   the same as JSON lines, checked without a store
    drift.py        what devices shall run against what they say
    leadership.py   which of several servers makes rollouts go on
    devices.py  groups.py  releases.py  rollouts.py  jobs.py  audit.py  effects.py  changes.py  tokens.py  pins.py  ddi.py
                    records in, records out, one table or two each
"""
