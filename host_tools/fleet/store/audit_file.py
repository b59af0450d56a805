"""The audit as JSON lines: one entry a line, as it was digested, so that a file can be checked without a store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError
from host_tools.fleet.records.access import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_KINDS: Final = {
    "number": int,
    "seconds": float,
    "actor": str,
    "action": str,
    "subject": str,
    "details": dict,
    "previous": str,
    "digest": str,
}


def audit_lines(entries: Iterable[AuditEntry]) -> Iterator[bytes]:
    """Give each entry as a line."""
    for entry in entries:
        document = {name: getattr(entry, name) for name in _KINDS} | {"details": dict(entry.details)}
        yield json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_audit_lines(lines: Iterable[bytes], *, where: str) -> Iterator[AuditEntry]:
    """Give the entries of a file.

    Raises:
        InputError: A line is none; the message names it.
    """
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: line {number}: not JSON: {error}.") from error
        if not isinstance(document, dict) or document.keys() != _KINDS.keys():
            raise InputError(f"{where}: line {number}: expected {', '.join(_KINDS)}.")
        for name, kind in _KINDS.items():
            if type(document[name]) is not kind:
                raise InputError(
                    f"{where}: line {number}: {name}: expected {kind.__name__}, got {type(document[name]).__name__}."
                )
        yield AuditEntry(**document)
