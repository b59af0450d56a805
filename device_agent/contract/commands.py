"""Commands from afar: a closed list, and what a request for one looks like.

A command is one retained topic, ``…/cmd/<op>/<cmd_id>``, that is a state machine. Who commands publishes a
`CommandRequest` there; the device publishes its `telemetry.states.CommandState` in its place, and ends with `successful` or
`failed`. Who commanded clears the topic with an empty payload. The request must be *retained*, or a device that is away
never sees it, and a new id for every command: the same id is the same command, and is not done twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from device_agent.contract.document import read_document, write_document
from device_agent.contract.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND_VERSION = "1.1"
"""1.1: the argument `model`."""
MAX_REQUEST_BYTES = 4096
MAX_STATE_BYTES = 16_384
"""Longest payload of a command's topic that is looked at, the device's own answer included."""

Operation = Literal["restart_model", "snapshot", "log_level", "pause", "resume"]
Level = Literal["debug", "info", "warning", "error"]
RequestStatus = Literal["init", "executing", "successful", "failed"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
ABOUT_THE_MODEL: tuple[Operation, ...] = ("pause", "resume", "restart_model")
_LEVELS: tuple[Level, ...] = get_args(Level)
_STATUSES: tuple[RequestStatus, ...] = get_args(RequestStatus)
_TIME_MAX = 253402300799.0
"""9999-12-31T23:59:59Z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """What is wanted.

    Attributes:
        time: Unix time in seconds when it was asked for.
        expires: Unix time in seconds from which on it must not be begun any more; None: as the device's
            ``commands.max_age_seconds`` says.
        arguments: ``{"level": …}`` for `log_level`; ``{"model": …}`` for `pause`, `resume` and `restart_model` that mean one of
            several models, without it all of them; nothing for `snapshot`.
    """

    time: float
    expires: float | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))


def encode_request(request: CommandRequest, operation: Operation) -> bytes:
    """Write a request as compact JSON.

    Raises:
        ContractError: It breaks a rule, so no device would take it.
    """
    document: dict[str, object] = {"schema_version": COMMAND_VERSION, "status": "init", "time": request.time}
    if request.expires is not None:
        document["expires"] = request.expires
    data = write_document({**document, "arguments": request.arguments}, where="CommandRequest")
    decode_request(data, operation, where="CommandRequest")
    return data


def decode_request(data: bytes, operation: Operation, *, where: str) -> CommandRequest:
    """Read a request for ``operation``, strictly.

    Raises:
        SchemaVersionError: It is of a newer major version.
        ContractError: It breaks a rule; the message names ``where`` and key.
    """
    fields = Fields(read_document(data, where=where, max_bytes=MAX_REQUEST_BYTES), where=where)
    fields.schema_version(COMMAND_VERSION)
    fields.choice("status", ("init",))
    time = fields.number("time", low=0.0, high=_TIME_MAX)
    expires = fields.number("expires", low=0.0, high=_TIME_MAX) if fields.has("expires") else None
    arguments: dict[str, str] = {}
    if fields.has("arguments"):
        given = fields.child("arguments")
        if operation == "log_level":
            arguments["level"] = given.choice("level", _LEVELS)
        elif operation in ABOUT_THE_MODEL and given.has("model"):
            arguments["model"] = given.text("model", longest=64)
        given.require_nothing_else()
    elif operation == "log_level":
        fields.child("arguments")  # refuses, since they are not there
    return CommandRequest(time=time, expires=expires, arguments=arguments)


def status_of(data: bytes, *, where: str) -> RequestStatus:
    """Return how far the command on a topic is, whoever wrote it, without a look at the rest.

    Raises:
        ContractError: It is no JSON object within `MAX_STATE_BYTES`, or has no such status.
    """
    fields = Fields(read_document(data, where=where, max_bytes=MAX_STATE_BYTES), where=where)
    return fields.choice("status", _STATUSES)
