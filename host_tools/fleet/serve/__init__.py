"""The fleet over HTTP: `edgewright fleet serve`. Everything lies under ``/api/v1`` and is described by ``/api/v1/openapi.json``.

Layout:
    roles.py        which role each endpoint needs: the one table
    limits.py       how much of everything there may be, and how fast
    admission.py    who is at the door: tokens, roles, rates; before a byte of the body is read
    body_limit.py   no request is larger than it may be
    problems.py     refusals as RFC 9457 problem documents
    patterns.py     how texts that are asked for look, as patterns and in words
    asked.py        what may be asked: one type a body, each field with its range
    answers/        what is told: one type an answer
    devices.py  device_table.py  groups.py  drift.py  claims.py  pins.py  ddi_tokens.py  releases.py  rollouts.py  audit.py  tokens.py
                    events.py  overview.py: the endpoints
    page.py  static/
                    the page that asks them
    application.py  all of them together
    context.py      what every endpoint has at hand
    server.py       uvicorn around it
"""
