"""The gate of a release: the suites on rigs, against the release's own artifacts; what came of it, signed.

Layout:
    plan.py        which artifact is tested on which board
    session.py     one run: a session of pytest in a process of its own, and what it measured
    attesting.py   a run as an attestation (`host_tools.repository.attestation`)
    command.py     ``edgewright hil gate`` and ``edgewright hil key``
"""
