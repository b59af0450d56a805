"""`Ledger`: what became of the commands, in a file that is replaced as a whole, so that a power cut leaves the old or the new one.

It remembers every command that was begun and not ended, the ends that the spool may not have, and the last ends, all of them bounded.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, get_args

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.contract.fields import Fields
from device_agent.contract.regular_file import read_regular_file
from device_agent.contract.telemetry.states import CommandStatus
from device_agent.durable import write_durably

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device_agent.contract.telemetry.message import Scalar

_STATUSES: Final[tuple[CommandStatus, ...]] = get_args(CommandStatus)
_VERSION: Final = "1.0"
_MAX_BYTES: Final = 1 << 22
"""More than all records that are kept take, each with its longest reason and result."""
_MAX_RECORDS: Final = 10_000
_UNTOLD: Final = 256
"""Ends that no disk took yet and that are remembered: who floods a device whose spool cannot be written fills neither disk nor memory."""

CommandKey = tuple[str, str]
"""Operation and command id, as in the topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """One command; see `telemetry.states.CommandState`.

    Attributes:
        told: Whether the spool holds, or held, the message that says so.
    """

    operation: str
    id: str
    status: CommandStatus
    code: str = ""
    reason: str = ""
    result: Mapping[str, Scalar] = field(default_factory=dict)
    told: bool = False

    @property
    def key(self) -> CommandKey:
        """Operation and id."""
        return self.operation, self.id


class Ledger:
    """Records by key, oldest first.

    Args:
        path: The file; its directory must be there when something is written.
        keep: Ends that are remembered after they were told.

    Attributes:
        damage: Why what was on disk could not be read; empty when it could. It was set aside as ``….damaged``.
    """

    def __init__(self, path: Path, *, keep: int) -> None:
        self.damage = ""
        self._path = path
        self._keep = keep
        self._records: dict[CommandKey, CommandRecord] = {}
        try:
            self._records = {record.key: record for record in _read(path)}
        except FileNotFoundError:
            return
        except (OSError, EdgewrightError) as error:
            self.damage = str(error)
            with contextlib.suppress(OSError):
                path.replace(path.with_name(path.name + ".damaged"))

    def get(self, key: CommandKey) -> CommandRecord | None:
        """Return what is known of a command."""
        return self._records.get(key)

    @property
    def unsettled(self) -> list[CommandRecord]:
        """Commands that were begun and not ended, and ends that were not told."""
        return [
            record for record in self._records.values() if record.status == "executing" or not record.told
        ]

    def put(self, record: CommandRecord) -> None:
        """Write a record down, in place of an older one of its key.

        Raises:
            StorageError: The file cannot be written. The record is remembered in memory all the same.
        """
        self._records.pop(record.key, None)
        # What a command gave is needed until it was told; then the file stays small.
        self._records[record.key] = replace(record, result={}) if record.told else record
        ended = [key for key, one in self._records.items() if one.status != "executing"]
        told = [key for key in ended if self._records[key].told]
        for key in {
            *told[: max(0, len(told) - self._keep)],
            *ended[: max(0, len(ended) - self._keep - _UNTOLD)],
        }:
            del self._records[key]
        self._write()

    def forget(self, key: CommandKey) -> None:
        """Drop a record from memory: it could not be written down, and must not count."""
        self._records.pop(key, None)

    def _write(self) -> None:
        records = [
            {
                "operation": record.operation,
                "id": record.id,
                "status": record.status,
                "code": record.code,
                "reason": record.reason,
                "result": record.result,
                "told": record.told,
            }
            for record in self._records.values()
        ]
        data = write_document({"schema_version": _VERSION, "commands": records}, where=str(self._path))
        try:
            write_durably(self._path, data)
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be written: {error.strerror or error}.",
                hint="Free space, or make the folder writable.",
            ) from error


def _read(path: Path) -> list[CommandRecord]:
    data = read_regular_file(path, most_bytes=_MAX_BYTES + 1)
    fields = Fields(read_document(data, where=str(path), max_bytes=_MAX_BYTES), where=str(path))
    fields.schema_version(_VERSION)
    return [
        CommandRecord(
            operation=item.text("operation"),
            id=item.text("id"),
            status=item.choice("status", _STATUSES),
            code=item.text("code", empty=True),
            reason=item.text("reason", empty=True),
            result=item.scalars("result", most=256),
            told=item.value("told") is True,
        )
        for item in fields.children("commands", least=0, most=_MAX_RECORDS)
    ]
