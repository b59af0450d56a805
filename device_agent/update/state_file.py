"""`StateFile`: the durable state as one small JSON file (ADR-0014), replaced by a rename, file and folder synced."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError, StorageError
from device_agent.contract.fields import Fields
from device_agent.durable import write_durably
from device_agent.update.state import (
    MAX_NOTICES,
    MAX_REJECTIONS,
    Candidate,
    Notice,
    Probation,
    Rejection,
    Release,
    UpdateState,
)

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.contract.telemetry import Severity

STATE_VERSION: Final = "1.1"
"""1.1: ``desired_digest`` and ``is_in_trial``."""
_MAX_BYTES: Final = 1 << 18
_MAX_INTEGER: Final = (1 << 53) - 1
_LATEST_SECONDS: Final = 253_402_300_799.0
"""The end of the year 9999."""
_SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error")


class StateFile:
    """Reads and replaces the state.

    Args:
        path: Where it is; its folder is made by `write`.

    Attributes:
        damaged: Why the file that was there could not be used; empty when it could.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damaged = ""

    def read(self) -> UpdateState:
        """Return the state; the first one when there is no file, or it is damaged (it is then set aside under ``….damaged``).

        Raises:
            StorageError: It cannot be read.
        """
        try:
            return read_state(self._path) or UpdateState()
        except ContractError as error:
            self.damaged = str(error)
            self._set_aside()
            return UpdateState()

    def write(self, state: UpdateState) -> None:
        """Replace the state. After a power cut the file holds the old one or the new one, whole.

        Raises:
            StorageError: It cannot be written; the old one stands.
        """
        data = encode(state)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, data)
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be written: {error.strerror or error}.",
                hint="Is the disk full or read-only?",
            ) from error

    def _set_aside(self) -> None:
        try:
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
        except OSError as error:
            raise StorageError(f"{self._path}: is damaged and cannot be moved: {error}.") from error


def read_state(path: Path) -> UpdateState | None:
    """Return the state that a file holds, and None when there is no file; nothing is changed.

    Raises:
        StorageError: It cannot be read.
        ContractError: It is damaged.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return decode(data, where=path.name)


def encode(state: UpdateState) -> bytes:
    """Write the state as JSON.

    Raises:
        ContractError: A value is none that JSON has.
    """
    document = {
        "schema_version": STATE_VERSION,
        "active": _plain(state.active),
        "known_good": _plain(state.known_good),
        "candidate": _plain(state.candidate),
        "probation": _plain(state.probation),
        "counter_floor": state.counter_floor,
        "desired_serial": state.desired_serial,
        "desired_digest": state.desired_digest or None,
        "is_in_trial": state.is_in_trial,
        "time_floor_seconds": state.time_floor_seconds,
        "rejected": [_plain(one) for one in state.rejected],
        "notices": [
            {"name": one.name, "severity": one.severity, "text": one.text, "details": dict(one.details)}
            for one in state.notices
        ],
    }
    return write_document(document, where="update state")


def decode(data: bytes, *, where: str) -> UpdateState:
    """Read the state from JSON.

    Raises:
        ContractError: It is not one.
    """
    fields = Fields(read_document(data, where=where, max_bytes=_MAX_BYTES), where=where)
    fields.schema_version(STATE_VERSION)
    state = UpdateState(
        active=_release(fields, "active"),
        known_good=_release(fields, "known_good"),
        candidate=_candidate(fields),
        probation=_probation(fields),
        counter_floor=_count(fields, "counter_floor"),
        desired_serial=_count(fields, "desired_serial"),
        desired_digest=fields.digest("desired_digest") if fields.has("desired_digest") else "",
        is_in_trial=fields.has("is_in_trial") and fields.value("is_in_trial") is True,
        time_floor_seconds=fields.number("time_floor_seconds", low=0.0, high=_LATEST_SECONDS),
        rejected=tuple(
            Rejection(digest=one.digest("digest"), serial=_count(one, "serial"), reason=one.text("reason"))
            for one in fields.children("rejected", least=0, most=MAX_REJECTIONS)
        ),
        notices=tuple(
            Notice(
                name=one.text("name"),
                severity=one.choice("severity", _SEVERITIES),
                text=one.text("text", longest=4_096),
                details=one.scalars("details", most=32),
            )
            for one in fields.children("notices", least=0, most=MAX_NOTICES)
        ),
    )
    if (state.active is None) != (state.known_good is None) or (state.probation and state.active is None):
        raise ContractError(f"{where}: active, known_good and probation do not go together.")
    return state


def _plain(part: Release | Candidate | Probation | Rejection | None) -> dict[str, Any] | None:
    return None if part is None else asdict(part)


def _release(fields: Fields, key: str) -> Release | None:
    if not fields.has(key):
        return None
    one = fields.child(key)
    return Release(
        digest=one.digest("digest"),
        name=one.text("name"),
        version=one.text("version"),
        counter=_count(one, "counter"),
    )


def _candidate(fields: Fields) -> Candidate | None:
    if not fields.has("candidate"):
        return None
    one = fields.child("candidate")
    release = _release(one, "release")
    if release is None:
        raise ContractError("update state: candidate.release is missing.")
    return Candidate(
        release=release,
        size_bytes=_count(one, "size_bytes"),
        path=one.text("path"),
        serial=_count(one, "serial"),
        trials=_count(one, "trials"),
        mismatches=_count(one, "mismatches"),
    )


def _probation(fields: Fields) -> Probation | None:
    if not fields.has("probation"):
        return None
    one = fields.child("probation")
    baseline = None
    if one.has("baseline_p95_seconds"):
        baseline = one.number("baseline_p95_seconds", low=0.0, high=1e9)
    return Probation(
        attempts=_count(one, "attempts"),
        serial=_count(one, "serial"),
        baseline_p95_seconds=baseline,
        baseline_hot=one.has("baseline_hot") and one.value("baseline_hot") is True,
    )


def _count(fields: Fields, key: str) -> int:
    return fields.integer(key, low=0, high=_MAX_INTEGER)
