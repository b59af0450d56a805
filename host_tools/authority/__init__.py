"""A small certificate authority for development and small fleets: `edgewright ca`. `docs/enrolment.md` has its protocol.

Layout:
    certificates.py  what the authority signs: devices, servers, the list of revoked ones; no disk
    folder.py        its folder: key, certificate, register
    register.py      claim tokens and certificates in SQLite: what was promised is kept, whenever the power goes
    service.py       the protocol: a request in, an answer out; knows no socket, so that another server can take it over
    server.py        HTTPS around it
"""
