"""What an operator meets on the machine itself.

Layout:
    service.py         systemd: ready, status, stopping, watchdog
    status.py          what the agent says of itself
    status_socket.py   asked over a Unix socket, by the agent's own user
    status_text.py     the same for people
    diagnosis.py       what is wrong here, and what to do: one finding a line
    support_bundle.py  one bounded archive for whoever helps, without secrets
"""
