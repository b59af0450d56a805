"""A rollout plan in TOML, with defaults; `check_plan` refuses what cannot work.

Without ``[[stage]]`` and ``[[gate]]`` a plan has `DEFAULT_STAGES` and `DEFAULT_GATES`; ``gate = []`` has no gates.
"""

from __future__ import annotations

import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from host_tools.fleet.records.gates import Gate
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION, RolloutPlan, ScheduleWindow, Stage
from host_tools.fleet.rollout.plan_rules import (
    LONGEST_SECONDS,
    MEASURES,
    MOST_DEVICES,
    MOST_STAGES,
    MOST_WINDOWS,
    WEEKDAYS,
    PlanError,
    check_plan,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "DEFAULT_GATES",
    "DEFAULT_STAGES",
    "LONGEST_SECONDS",
    "MOST_DEVICES",
    "MOST_STAGES",
    "MOST_WINDOWS",
    "PlanError",
    "check_plan",
    "parse_plan",
    "read_plan_file",
]

SCHEMA_VERSION: Final = "1.0"
MAX_BYTES: Final = 1 << 16
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")

DEFAULT_STAGES: Final = (
    Stage(name="canary", success_ratio=0.8, share_ppm=30_000, soak_seconds=3_600.0),
    Stage(name="5 %", success_ratio=0.8, share_ppm=50_000, soak_seconds=1_800.0),
    Stage(name="25 %", success_ratio=0.8, share_ppm=250_000, soak_seconds=1_800.0),
    Stage(name="100 %", success_ratio=0.8, share_ppm=PARTS_PER_MILLION, soak_seconds=1_800.0),
)
DEFAULT_GATES: Final = (
    Gate(measure="latency_p50", worst=0.1),
    Gate(measure="latency_p95", worst=0.15),
    Gate(measure="energy_per_inference", worst=0.15),
    Gate(measure="temperature", worst=5.0),
    Gate(measure="throttled_share", worst=0.1),
    Gate(measure="output_agreement", worst=0.02),
    Gate(measure="crashes", worst=0.05),
)


def read_plan_file(path: Path) -> RolloutPlan:
    """Read a plan.

    Raises:
        PlanError: It cannot be read, or see `parse_plan`.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PlanError(
            f"{path}: cannot be read: {error.strerror or error}.",
            hint="docs/rollouts.md shows a plan.",
        ) from error
    return parse_plan(data, where=str(path))


def parse_plan(data: bytes, *, where: str) -> RolloutPlan:
    """Read the bytes of a plan.

    Raises:
        PlanError: Larger than 64 KiB, not TOML, a key is unknown, missing or of the wrong type, or see `check_plan`.
    """
    if len(data) > MAX_BYTES:
        raise PlanError(f"{where}: larger than {MAX_BYTES} bytes; expected a rollout plan.")
    try:
        document: Mapping[str, object] = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{where}: not TOML: {error}.") from error
    try:
        plan = _plan(Fields(document, where=where), where)
    except ContractError as error:
        raise PlanError(str(error.args[0]), hint=error.hint) from error
    check_plan(plan, where=where)
    return plan


def _plan(fields: Fields, where: str) -> RolloutPlan:
    if fields.has("schema_version"):
        fields.schema_version(SCHEMA_VERSION)
    _require_known(
        fields,
        (
            "schema_version",
            "id",
            "release",
            "group",
            "stage",
            "gate",
            "window",
            "job_seconds",
            "absent_seconds",
            "hold_seconds",
            "needs_approval",
            "rolls_back",
            "allow_downgrade",
        ),
        where,
    )
    given = _numbers(fields, ("job_seconds", "absent_seconds", "hold_seconds"))
    given |= _booleans(fields, ("needs_approval", "rolls_back", "allow_downgrade"))
    stages, gates, windows = (_children(fields, key) for key in ("stage", "gate", "window"))
    return RolloutPlan(
        id=fields.text("id"),
        release=fields.text("release"),
        group=fields.text("group"),
        stages=DEFAULT_STAGES
        if stages is None
        else tuple(_stage(one, f"{where}: stage[{number}]") for number, one in enumerate(stages)),
        gates=DEFAULT_GATES
        if gates is None
        else tuple(_gate(one, f"{where}: gate[{number}]") for number, one in enumerate(gates)),
        windows=tuple(_window(one, f"{where}: window[{number}]") for number, one in enumerate(windows or [])),
        **given,
    )


def _stage(fields: Fields, at: str) -> Stage:
    _require_known(
        fields,
        ("name", "share", "devices", "success_ratio", "error_ratio", "soak_seconds", "needs_approval"),
        at,
    )
    given = _numbers(fields, ("success_ratio", "error_ratio", "soak_seconds"))
    given |= _booleans(fields, ("needs_approval",))
    return Stage(
        name=fields.text("name"),
        share_ppm=round(fields.number("share", low=0.0, high=1.0) * PARTS_PER_MILLION),
        devices=fields.texts("devices", least=0, most=MOST_DEVICES) if fields.has("devices") else (),
        **given,
    )


def _gate(fields: Fields, at: str) -> Gate:
    _require_known(fields, ("measure", "worst", "confidence", "least_devices", "required"), at)
    given = _numbers(fields, ("confidence",))
    given |= _booleans(fields, ("required",))
    if fields.has("least_devices"):
        given["least_devices"] = fields.integer("least_devices", low=0, high=1 << 31)
    return Gate(
        measure=fields.choice("measure", MEASURES),
        worst=fields.number("worst", low=0.0, high=_LARGEST),
        **given,
    )


def _window(fields: Fields, at: str) -> ScheduleWindow:
    _require_known(fields, ("days", "begin", "end"), at)
    names = fields.texts("days", least=1, most=7) if fields.has("days") else WEEKDAYS
    for name in names:
        if name not in WEEKDAYS:
            fields.refuse("days", f"some of {', '.join(WEEKDAYS)}", name)
    return ScheduleWindow(
        weekdays=frozenset(WEEKDAYS.index(name) for name in names),
        begin_seconds=_clock(fields, "begin"),
        end_seconds=_clock(fields, "end"),
    )


def _clock(fields: Fields, key: str) -> int:
    text = fields.text(key)
    match = _CLOCK.fullmatch(text)
    if match is None or int(match[1]) * 60 + int(match[2]) > 24 * 60:
        fields.refuse(key, 'a time like "08:30", in UTC', text)
    return int(match[1]) * 3600 + int(match[2]) * 60


def _children(fields: Fields, key: str) -> list[Fields] | None:
    return fields.children(key, least=0, most=1024) if fields.has(key) else None


def _numbers(fields: Fields, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: fields.number(key, low=0.0, high=_LARGEST) for key in keys if fields.has(key)}


def _booleans(fields: Fields, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: fields.boolean(key) for key in keys if fields.has(key)}


def _require_known(fields: Fields, known: tuple[str, ...], at: str) -> None:
    for key in fields.names:
        if key not in known:
            close = difflib.get_close_matches(key[:64], known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            raise PlanError(f"{at}: {key[:64]}: unknown.", hint=hint)


_LARGEST: Final = sys.float_info.max
