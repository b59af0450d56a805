"""`StateFile`: the durable state as one small JSON file (ADR-0014), replaced by a rename, file and folder synced."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError, StorageError
from device_agent.contract.fields import Fields
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.regular_file import read_regular_file
from device_agent.durable import write_durably
from device_agent.update.state import (
    MAX_NOTICES,
    MAX_REJECTIONS,
    Candidate,
    Notice,
    Probation,
    Rejection,
    Release,
    Standing,
    UpdateState,
)

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.contract.telemetry.message import Severity

STATE_VERSION: Final = "1.1"
"""Of the main model alone. 1.1: ``desired_digest`` and ``is_in_trial``."""
SEVERAL_VERSION: Final = "2.0"
"""``models``: of several. It is written only where there are several, so that a device with one can go back to an older agent."""
_MAX_BYTES: Final = 1 << 22
"""More than all models with all their rejections take."""
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
        data = read_regular_file(path, most_bytes=_MAX_BYTES + 1)
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
    main, others = state.main, set(state.models) - {MAIN_MODEL}
    device = {
        "desired_serial": state.desired_serial,
        "time_floor_seconds": state.time_floor_seconds,
        "notices": [
            {"name": one.name, "severity": one.severity, "text": one.text, "details": dict(one.details)}
            for one in state.notices
        ],
    }
    if others:
        models = {name: _plain_standing(one) for name, one in state.models.items()}
        document = {"schema_version": SEVERAL_VERSION, **device, "models": models}
    else:
        document = {"schema_version": STATE_VERSION, **_plain_standing(main), **device}
    return write_document(document, where="update state")


def decode(data: bytes, *, where: str) -> UpdateState:
    """Read what `encode` wrote, or an older agent.

    Raises:
        ContractError: It is something else, or damaged.
    """
    fields = Fields(read_document(data, where=where, max_bytes=_MAX_BYTES), where=where)
    if fields.text("schema_version").startswith("1."):
        fields.schema_version(STATE_VERSION)
        models = {MAIN_MODEL: _standing(fields, where)}
    else:
        fields.schema_version(SEVERAL_VERSION)
        found = fields.child("models")
        models = {name: _standing(found.child(name), f"{where}: {name}") for name in found.names}
    return UpdateState(
        models=models,
        desired_serial=_count(fields, "desired_serial"),
        time_floor_seconds=fields.number("time_floor_seconds", low=0.0, high=_LATEST_SECONDS),
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


def _plain_standing(standing: Standing) -> dict[str, Any]:
    return {
        "active": _plain(standing.active),
        "known_good": _plain(standing.known_good),
        "candidate": _plain(standing.candidate),
        "probation": _plain(standing.probation),
        "counter_floor": standing.counter_floor,
        "desired_digest": standing.desired_digest or None,
        "is_in_trial": standing.is_in_trial,
        "rejected": [_plain(one) for one in standing.rejected],
    }


def _standing(fields: Fields, where: str) -> Standing:
    standing = Standing(
        active=_release(fields, "active"),
        known_good=_release(fields, "known_good"),
        candidate=_candidate(fields),
        probation=_probation(fields),
        counter_floor=_count(fields, "counter_floor"),
        desired_digest=fields.digest("desired_digest") if fields.has("desired_digest") else "",
        is_in_trial=fields.has("is_in_trial") and fields.value("is_in_trial") is True,
        rejected=tuple(
            Rejection(digest=one.digest("digest"), serial=_count(one, "serial"), reason=one.text("reason"))
            for one in fields.children("rejected", least=0, most=MAX_REJECTIONS)
        ),
    )
    if (standing.active is None) != (standing.known_good is None) or (
        standing.probation and standing.active is None
    ):
        raise ContractError(f"{where}: active, known_good and probation do not go together.")
    return standing


def _plain(part: Release | Candidate | Probation | Rejection | None) -> dict[str, Any] | None:
    if part is None:
        return None
    plain = {one.name: getattr(part, one.name) for one in dataclasses.fields(part)}
    return plain | {"release": _plain(part.release)} if isinstance(part, Candidate) else plain


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
