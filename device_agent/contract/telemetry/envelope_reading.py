"""What every message has, and which model it is of, from JSON objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict, get_args

from device_agent.contract.model_names import MODEL_NAME
from device_agent.contract.telemetry.bounds import COUNT_MAX, NUMBER_MAX
from device_agent.contract.telemetry.message import TELEMETRY_VERSION, Clock, Envelope, Variant
from device_agent.contract.telemetry.writing import TIME_MAX

if TYPE_CHECKING:
    from device_agent.contract.fields import Fields

_BOOT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CLOCKS: tuple[Clock, ...] = get_args(Clock)
_VARIANTS: tuple[Variant, ...] = get_args(Variant)


class Base(TypedDict):
    """The arguments that every message takes."""

    envelope: Envelope
    schema_version: str


class Whose(TypedDict):
    """The arguments of a message that may be one of several models'."""

    model: str | None
    variant: Variant | None


def envelope_of(fields: Fields) -> Envelope:
    """Read the envelope of a message of any type, known here or not."""
    return base_of(fields)["envelope"]


def base_of(fields: Fields) -> Base:
    """Read what every message has; ``extra`` is added last, when it is known what was not asked for."""
    version = fields.schema_version(TELEMETRY_VERSION)
    artifact = fields.digest("artifact") if fields.has("artifact") else None
    envelope = Envelope(
        time=fields.number("time", low=0.0, high=TIME_MAX),
        boot_id=fields.text("boot_id", pattern=_BOOT_ID),
        seq=fields.integer("seq", low=0, high=COUNT_MAX),
        uptime_seconds=fields.number("uptime_seconds", low=0.0, high=NUMBER_MAX),
        clock=fields.choice("clock", _CLOCKS),
        artifact=artifact,
    )
    return {"envelope": envelope, "schema_version": version}


def whose_of(fields: Fields) -> Whose:
    """Read which model and variant a message is about; neither is there where there is only one."""
    return {
        "model": fields.text("model", pattern=MODEL_NAME) if fields.has("model") else None,
        "variant": fields.choice("variant", _VARIANTS) if fields.has("variant") else None,
    }
