"""How commands that serve end: in order on the first Ctrl-C or SIGTERM, which is no failure, and at once on the next."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def until_ended() -> Iterator[None]:
    """Leave what waits in the block when somebody asks for the end; the caller then puts in order what it has.

    `end_at_once_when_asked_again` comes before, so that whoever cannot wait for that asks again.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("Ended.", file=sys.stderr)
