"""What a check leaves out of memory: libraries that python-tuf imports and a check of this agent does not use.

On a small device agent and check together must fit; what is imported is half of what a check needs.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NETWORK: Final = "tuf.ngclient.urllib3_fetcher"
_KEYS: Final = "cryptography"
_KEY_TYPE: Final = "ed25519"


def leave_out_network() -> None:
    """Let python-tuf not import urllib3: our own fetcher is given to it. Before python-tuf is imported."""
    if _NETWORK not in sys.modules:
        stand_in = ModuleType(_NETWORK)
        stand_in.__dict__["Urllib3Fetcher"] = type("Urllib3Fetcher", (), {})
        sys.modules[_NETWORK] = stand_in


def leave_out_cryptography() -> None:
    """Let securesystemslib verify Ed25519 by its own code, and nothing else. Before it is imported.

    It verifies in Python then, in some tens of milliseconds a signature, without 8 MiB of a library. Keys of another type
    do not count: whoever has them needs the library.
    """
    sys.modules.setdefault(_KEYS, None)  # type: ignore[arg-type] # Python's way to say that it cannot be imported


def has_only_ed25519(root: Path) -> bool:
    """Return whether root metadata name no key of another type; what cannot be read names none, and is for others to refuse."""
    try:
        keys = json.loads(root.read_bytes())["signed"]["keys"].values()
        return all(key["keytype"] == _KEY_TYPE for key in keys)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
