"""What a device says of itself over `configData`, as its inventory; attributes that the fleet has no place for are passed over. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError
from host_tools.fleet.records.devices import Provides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.ddi.wire import ConfigData

KNOWN: Final = ("targets", "engine", "agent_version", "memory_bytes")
_TARGET: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_MOST_TARGETS: Final = 16
_MOST_MEMORY: Final = (1 << 63) - 1


def provides_after(before: Provides, said: ConfigData) -> Provides:
    """Return what a device can run after what it said.

    `merge`, the default, changes what is named; `replace` also forgets what is not; `remove` forgets what is named. The size of the memory
    stays: the store has no word for a device that does not know it any more.

    Raises:
        InputError: An attribute that the fleet keeps has no such value.
    """
    mode = said.mode or "merge"
    told = {name: value for name, value in said.data.items() if name in KNOWN}
    given: Mapping[str, str] = {} if mode == "remove" else {k: v for k, v in told.items() if v is not None}
    forgotten = set(told) if mode == "remove" else set(KNOWN) - set(given) if mode == "replace" else set()
    return Provides(
        targets=_targets(given["targets"])
        if "targets" in given
        else ()
        if "targets" in forgotten
        else before.targets,
        engine=_text("engine", before.engine, given, forgotten),
        agent_version=_text("agent_version", before.agent_version, given, forgotten),
        memory_bytes=_memory(given["memory_bytes"]) if "memory_bytes" in given else before.memory_bytes,
    )


def _text(name: str, before: str, given: Mapping[str, str], forgotten: set[str]) -> str:
    if name in given:
        return given[name].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return "" if name in forgotten else before


def _targets(text: str) -> tuple[str, ...]:
    targets = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if len(targets) > _MOST_TARGETS or not all(_TARGET.fullmatch(one) for one in targets):
        raise InputError(
            f"attribute targets: expected at most {_MOST_TARGETS} capability profiles between spaces or commas.",
            hint="`edgewright targets list` shows them.",
        )
    return targets


def _memory(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _MOST_MEMORY):
        raise InputError("attribute memory_bytes: expected a whole number of bytes, from 0.")
    return int(text)
