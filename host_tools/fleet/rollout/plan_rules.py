"""`check_plan`: the one place where rollout plans are refused, wherever they come from."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, get_args

from host_tools.errors import InputError
from host_tools.fleet.records.gates import GateMeasure
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION
from host_tools.fleet.rollout.windows import DAY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.fleet.records.gates import Gate
    from host_tools.fleet.records.rollouts import RolloutPlan, ScheduleWindow, Stage

MOST_STAGES: Final = 16
MOST_DEVICES: Final = 256
"""Named devices of a plan: they all stand in the signed desired state."""
MOST_WINDOWS: Final = 32
LONGEST_SECONDS: Final = 366.0 * DAY_SECONDS
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MEASURES: Final[tuple[GateMeasure, ...]] = get_args(GateMeasure)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RELEASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")


class PlanError(InputError):
    """A rollout plan is wrong; the message names where and the key."""

    code = "rollout_plan"


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
        if one.measure not in MEASURES:
            raise _wrong(where, f"{at}.measure", f"one of {', '.join(MEASURES)}", one.measure)
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
