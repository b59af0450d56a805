"""The three standard streams are there, whoever started the process without them: a service of its own making, ``cron``, ``>&-``."""

import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed_streams() -> None:
    """Open on ``/dev/null`` what is closed, before anything else is opened.

    Python has None in its place, which every use of it would have to ask for; and the next file would get its number, and with that
    whatever a library prints.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))
