"""`require_known_keys`: a table of a ``preprocess.toml`` has no key but those that it may have."""

from __future__ import annotations

import difflib
import reprlib
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_SHOWN: Final = 40
_LONGEST_COMPARED: Final = 64
"""Comparing takes as long as both are long, and a file may hold any key."""


def require_known_keys(keys: Iterable[str], known: Sequence[str], *, where: str) -> None:
    """Refuse the first key that is none, before anything is said of one that is missing: it may be that one, misspelt.

    Args:
        keys: Of the table.
        known: Those that it may have, in the order in which they are told.
        where: File and table, with what stands between it and a key.

    Raises:
        ConfigError: It names the key, the nearest one and all that there are.
    """
    for key in keys:
        if key not in known:
            close = difflib.get_close_matches(key[:_LONGEST_COMPARED], known, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            shown = key if key.isidentifier() and len(key) <= _LONGEST_SHOWN else reprlib.repr(key)
            raise ConfigError(f"{where}{shown}: unknown key.{meant}", hint=f"It knows {', '.join(known)}.")
