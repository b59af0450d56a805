"""A rollout plan in TOML, and `check_plan`, the one place where plans are refused, wherever they come from.

Without ``[[stage]]`` and ``[[gate]]`` a plan has `DEFAULT_STAGES` and `DEFAULT_GATES`; ``gate = []`` has no gates.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from typing import TYPE_CHECKING, Any, Final, get_args

from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from host_tools.errors import InputError
from host_tools.fleet.records import (
    PARTS_PER_MILLION,
    Gate,
    GateMeasure,
    RolloutPlan,
    ScheduleWindow,
    Stage,
)
from host_tools.fleet.rollout.windows import DAY_SECONDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA_VERSION: Final = "1.0"
MAX_BYTES: Final = 1 << 16
MOST_STAGES: Final = 16
MOST_DEVICES: Final = 256
"""Named devices of a plan: they all stand in the signed desired state."""
MOST_WINDOWS: Final = 32
LONGEST_SECONDS: Final = 366.0 * DAY_SECONDS
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RELEASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_MEASURES: Final[tuple[GateMeasure, ...]] = get_args(GateMeasure)

DEFAULT_STAGES: Final = (
    Stage(name="canary", success_ratio=0.8, share_ppm=20_000, soak_seconds=3_600.0),
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


class PlanError(InputError):
    """A rollout plan is wrong; the message names where and the key."""

    code = "rollout_plan"


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


def check_plan(plan: RolloutPlan, *, where: str = "rollout plan") -> None:
    """Refuse a plan that cannot work.

    Args:
        plan: From a file, a request, or code.
        where: What the message begins with.

    Raises:
        PlanError: A share does not grow, the last stage is not the whole group, a figure is out of its range, a name is used twice.
    """
    for key, text, pattern in (
        ("id", plan.id, _ID),
        ("release", plan.release, _RELEASE),
        ("group", plan.group, _ID),
    ):
        if not pattern.fullmatch(text):
            raise _wrong(where, key, f"a text like {pattern.pattern}", text)
    for key, seconds in (
        ("job_seconds", plan.job_seconds),
        ("absent_seconds", plan.absent_seconds),
        ("hold_seconds", plan.hold_seconds),
    ):
        _within(where, key, seconds, 1.0, LONGEST_SECONDS)
    _check_stages(plan.stages, where)
    _check_gates(plan.gates, where)
    _check_windows(plan.windows, where)


def _check_stages(stages: Sequence[Stage], where: str) -> None:
    if not 1 <= len(stages) <= MOST_STAGES:
        raise _wrong(where, "stage", f"1 to {MOST_STAGES} stages", len(stages))
    _once(where, "stage", "name", [one.name for one in stages])
    before = 0
    for number, one in enumerate(stages):
        at = f"stage[{number}]"
        if not (one.name.strip() and len(one.name) <= 64 and one.name.isprintable()):
            raise _wrong(where, f"{at}.name", "1 to 64 characters", one.name)
        if not 0 <= one.share_ppm <= PARTS_PER_MILLION or one.share_ppm < before:
            raise _wrong(
                where,
                f"{at}.share",
                f"{before / PARTS_PER_MILLION:g} to 1: a stage has everybody of the one before",
                one.share_ppm / PARTS_PER_MILLION,
            )
        if one.share_ppm == before and not one.devices:
            raise _wrong(where, at, "a larger share than before, or devices", "nobody new")
        _within(where, f"{at}.success_ratio", one.success_ratio, 0.01, 1.0)
        _within(where, f"{at}.error_ratio", one.error_ratio, 0.0001, 1.0)
        _within(where, f"{at}.soak_seconds", one.soak_seconds, 0.0, LONGEST_SECONDS)
        for name in one.devices:
            if not _ID.fullmatch(name):
                raise _wrong(where, f"{at}.devices", f"ids like {_ID.pattern}", name)
        before = one.share_ppm
    if before != PARTS_PER_MILLION:
        raise _wrong(
            where,
            f"stage[{len(stages) - 1}].share",
            "1: the last stage is the whole group",
            before / PARTS_PER_MILLION,
        )
    named = [name for one in stages for name in one.devices]
    _once(where, "stage", "devices", named)
    if len(named) > MOST_DEVICES:
        raise _wrong(where, "stage", f"at most {MOST_DEVICES} named devices", len(named))


def _check_gates(gates: Sequence[Gate], where: str) -> None:
    _once(where, "gate", "measure", [one.measure for one in gates])
    for number, one in enumerate(gates):
        at = f"gate[{number}]"
        if one.measure not in _MEASURES:
            raise _wrong(where, f"{at}.measure", f"one of {', '.join(_MEASURES)}", one.measure)
        most = 1.0 if one.measure in ("throttled_share", "output_agreement") else 1000.0
        _within(where, f"{at}.worst", one.worst, 1e-6, most)
        _within(where, f"{at}.confidence", one.confidence, 0.8, 0.999999)
        _within(where, f"{at}.least_devices", one.least_devices, 2, 100_000)


def _check_windows(windows: Sequence[ScheduleWindow], where: str) -> None:
    if len(windows) > MOST_WINDOWS:
        raise _wrong(where, "window", f"at most {MOST_WINDOWS} windows", len(windows))
    for number, one in enumerate(windows):
        at = f"window[{number}]"
        if not one.weekdays or not one.weekdays <= frozenset(range(7)):
            raise _wrong(where, f"{at}.days", f"some of {', '.join(WEEKDAYS)}", sorted(one.weekdays))
        for key, second in (("begin", one.begin_seconds), ("end", one.end_seconds)):
            _within(where, f"{at}.{key}", second, 0, DAY_SECONDS)
        if one.begin_seconds in (one.end_seconds, DAY_SECONDS):
            raise _wrong(where, at, "a window of some length that begins before 24:00", "an empty one")


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
        measure=fields.choice("measure", _MEASURES),
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
    given: dict[str, Any] = {}
    for key in keys:
        if fields.has(key):
            value = fields.value(key)
            if not isinstance(value, bool):
                fields.refuse(key, "true or false", value)
            given[key] = value
    return given


def _require_known(fields: Fields, known: tuple[str, ...], at: str) -> None:
    for key in fields.names:
        if key not in known:
            close = difflib.get_close_matches(key[:64], known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            raise PlanError(f"{at}: {key[:64]}: unknown.", hint=hint)


def _within(where: str, key: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise _wrong(where, key, f"{low:g} to {high:g}", value)


def _once(where: str, table: str, key: str, values: Sequence[str]) -> None:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise _wrong(where, f"{table}.{key}", "each once", value)


def _wrong(where: str, key: str, expected: str, got: object) -> PlanError:
    return PlanError(
        f"{where}: {key}: expected {expected}, got {got!r}.", hint="docs/rollouts.md shows a plan."
    )


_LARGEST: Final = sys.float_info.max
