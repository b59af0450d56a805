"""Enrolment: from a claim token to a certificate of the device's own, and from that to the next one before it expires.

The key is made here and never leaves. Whenever the power goes, running the same command again goes on from there.

Layout:
    identity.py   the folder: generations of key and certificate, one of them current; standard library only
    keys.py       keys, signing requests, and whether a certificate is what was asked for; needs `cryptography`
    exchange.py   HTTPS with the authority, held to its certificate, bounded in size and time
    enrol.py      the two stories: enrol, renew
    renewal.py    renewal by the running agent, in a child process, so that its memory is returned
    __main__.py   that child
"""
