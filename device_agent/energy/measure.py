"""``edgewright-agent measure``: the energy of one inference, by idle baseline and load window.

1. Load the artifact's payload; record governor, frequency, temperatures, other load.
2. Idle: model loaded, nothing inferred, until the power is steady.
3. Load: inferences back to back, on the golden samples where the artifact has some.
4. Gross and net energy of every power sensor, each under its own scope; never a sum of what contains each other.

A window in which the processor was throttled is invalid, not slow; with ``sustained`` it is what is being measured.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from time import monotonic, perf_counter_ns, sleep
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.errors import MeasurementError
from device_agent.energy.arithmetic import energy_per_inference, variation
from device_agent.energy.choice import meters
from device_agent.energy.recording import Recording
from device_agent.sensors.cpufreq import governors
from device_agent.sensors.pressure import read_pressure
from device_agent.sensors.reading import Absent
from device_agent.sensors.throttling import ThrottleWatch
from device_agent.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from device_agent.energy.arithmetic import EnergyPerInference, Track
    from device_agent.sensors.reading import Measured
    from device_agent.sensors.survey import Sensors

_STEADY: Final = 0.05
"""Largest coefficient of variation of an idle power that counts as steady."""
_MOST_WAITS: Final = 4
"""The baseline is given up as unsteady, and said to be, after so many times its length."""
_UPDATES: Final = 100
_MOST_SAMPLER_RATIO: Final = 0.01
_MINUTE_NS: Final = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePlan:
    """How to measure.

    Attributes:
        idle_seconds: Least length of the baseline.
        load_seconds: Least length of the load window; it is longer for sensors that update rarely.
        interval_seconds: Between two samples of the sensors.
        sustained: Throttling is what is being looked for, and no reason to refuse the figures.
    """

    idle_seconds: float
    load_seconds: float
    interval_seconds: float
    sustained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorEnergy:
    """Energy of one inference by one sensor; the first of a report is the one to quote."""

    sensor: str
    source: str
    scope: str
    quality: str
    update_seconds: float | None
    energy: EnergyPerInference


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyReport:
    """What was measured.

    Attributes:
        invalid: Why the figures must not be used; empty when they may.
        notes: What limits them.
        inferences: In the load window.
        load_seconds: Its length.
        idle_seconds: Length of the baseline.
        p50_seconds: Median latency of the whole window.
        minute_p50_seconds: Of every minute that is whole: the first and the last tell how far heat slows it down.
        throttled_ratio: Share of the samples in which something said that the processor is throttled.
        sampler_cpu_ratio: Share of one core that sampling cost while it inferred.
        conditions: Under which it was measured.
        broken: Sensors that failed meanwhile, and why.
        energies: Of every sensor that could be read throughout.
    """

    invalid: tuple[str, ...]
    notes: tuple[str, ...]
    inferences: int
    load_seconds: float
    idle_seconds: float
    p50_seconds: float
    minute_p50_seconds: tuple[float, ...]
    throttled_ratio: float
    sampler_cpu_ratio: float
    conditions: Mapping[str, object]
    broken: Mapping[str, str]
    energies: tuple[SensorEnergy, ...]


def measure_energy(
    infer: Callable[[], object],
    *,
    sensors: Sensors,
    sysfs_root: Path,
    proc_root: Path,
    plan: MeasurePlan,
    progress: Callable[[str], None],
) -> EnergyReport:
    """Measure what one call of ``infer`` costs.

    Args:
        infer: One inference.
        sensors: Read by nobody else meanwhile.
        sysfs_root: ``/sys``, or a tree that stands for it.
        proc_root: ``/proc``, or a tree that stands for it.
        plan: How to measure.
        progress: Told what is being done, in a line.

    Raises:
        MeasurementError: No sensor tells power or energy, or none could be read throughout.
        EngineError: An inference failed.
    """
    sensors.power(monotonic())
    found = meters(sensors.power(monotonic()))
    if not found:
        raise MeasurementError(
            _nothing(sensors.power(monotonic())),
            hint="`edgewright-agent sensors` lists what this machine has, and why the rest is missing.",
        )
    infer()  # engines do their last preparations in the first one
    watch = ThrottleWatch()
    conditions = _conditions(sensors, sysfs_root, proc_root)
    idle, notes = _baseline(sensors, watch, plan, progress)
    slowest = max(meter.update_seconds or 0.0 for meter in found)
    seconds = max(plan.load_seconds, _UPDATES * slowest)
    progress(f"load: inferring for {seconds:.0f} s")
    histogram, minutes = Histogram(), [Histogram()]
    with Recording(sensors, watch, interval_seconds=plan.interval_seconds) as load:
        _infer_for(seconds, infer, histogram, minutes)
    return _report(idle, load, histogram, minutes, plan=plan, notes=notes, conditions=conditions)


def _baseline(
    sensors: Sensors, watch: ThrottleWatch, plan: MeasurePlan, progress: Callable[[str], None]
) -> tuple[Recording, list[str]]:
    """Wait for an idle window whose power is steady; the last one that was tried counts."""
    for attempt in range(1, _MOST_WAITS + 1):
        progress(f"idle: {plan.idle_seconds:g} s without inferences")
        with Recording(sensors, watch, interval_seconds=plan.interval_seconds) as idle:
            sleep(plan.idle_seconds)
        tracks = list(idle.tracks().values())
        if not tracks:
            break
        spread = variation(tracks[0][1])
        if spread < _STEADY:
            return idle, []
        progress(f"idle power varies by {spread:.0%}, attempt {attempt} of {_MOST_WAITS}")
        unsteady = f"idle power varied by {spread:.0%} and did not become steady: something else runs"
    else:
        return idle, [unsteady]
    return idle, []


def _infer_for(
    seconds: float, infer: Callable[[], object], histogram: Histogram, minutes: list[Histogram]
) -> None:
    started = now = perf_counter_ns()
    ends, minute_ends = started + int(seconds * 1e9), started + _MINUTE_NS
    while now < ends:
        infer()
        before, now = now, perf_counter_ns()
        histogram.record(now - before)
        if now >= minute_ends:
            minutes.append(Histogram())
            minute_ends += _MINUTE_NS
        minutes[-1].record(now - before)


def _report(
    idle: Recording,
    load: Recording,
    histogram: Histogram,
    minutes: list[Histogram],
    *,
    plan: MeasurePlan,
    notes: list[str],
    conditions: Mapping[str, object],
) -> EnergyReport:
    baselines, energies, window = idle.tracks(), [], 0.0
    broken = {**idle.broken, **load.broken}
    for name, (meter, track) in load.tracks().items():
        window = track.duration_seconds
        if name in baselines:
            energies.append(_energy(meter, baselines[name][1], track, histogram.count))
    if not energies:
        why = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise MeasurementError(f"no sensor could be read throughout: {why or 'they vanished'}.")
    throttled = {**idle.throttled, **load.throttled}
    sampler_ratio = load.cpu_seconds / window
    if sampler_ratio > _MOST_SAMPLER_RATIO:
        notes.append(
            f"sampling cost {sampler_ratio:.1%} of a core: do not use the latencies; raise --interval"
        )
    if energies[0].energy.net.value < energies[0].energy.net.uncertainty:
        notes.append(
            "the net energy is not above its uncertainty: measure for longer, or with fewer other programs"
        )
    return EnergyReport(
        invalid=() if plan.sustained else tuple(f"throttled: {reason}" for reason in throttled),
        notes=tuple(notes),
        inferences=histogram.count,
        load_seconds=window,
        idle_seconds=plan.idle_seconds,
        p50_seconds=histogram.quantile_seconds(0.5) or 0.0,
        minute_p50_seconds=tuple(minute.quantile_seconds(0.5) or 0.0 for minute in minutes[:-1]),
        throttled_ratio=min(1.0, max(load.throttled.values(), default=0) / load.samples),
        sampler_cpu_ratio=sampler_ratio,
        conditions=conditions,
        broken=broken,
        energies=tuple(energies),
    )


def _energy(meter: Measured, idle: Track, load: Track, inferences: int) -> SensorEnergy:
    return SensorEnergy(
        sensor=meter.name,
        source=meter.source,
        scope=meter.scope,
        quality=meter.quality,
        update_seconds=meter.update_seconds,
        energy=energy_per_inference(idle, load, inferences=inferences),
    )


def _conditions(sensors: Sensors, sysfs_root: Path, proc_root: Path) -> dict[str, object]:
    """Return what else decides the figures; what could not be read with its reason."""
    readings = [*sensors.heat(), *read_pressure(proc_root)]
    values: dict[str, object] = {
        one.name: f"absent: {one.value.reason}" if isinstance(one.value, Absent) else one.value
        for one in readings
    }
    return {"governors": list(governors(sysfs_root)), **values}


def _nothing(power: Iterable[Measured]) -> str:
    reasons = [one.value.reason for one in power if isinstance(one.value, Absent)]
    return f"no sensor tells power or energy: {'; '.join(reasons[:3]) or 'there is none'}."


def as_json(report: EnergyReport) -> dict[str, Any]:
    """Return plain JSON values; what is not finite (an uncertainty of too few samples) is null."""
    plain: dict[str, Any] = _finite({**asdict(report), "valid": not report.invalid})
    return plain


def as_text(report: EnergyReport) -> str:
    """Return the report for people."""
    lines = [
        f"{report.inferences} inferences in {report.load_seconds:.1f} s, median {report.p50_seconds * 1e3:.3f} ms",
        f"{'sensor':<32} {'scope':<20} {'net mJ':>20} {'gross mJ':>20} {'idle W':>8} {'load W':>8}",
    ]
    for one in report.energies:
        energy = one.energy
        net, gross = (
            f"{part.value * 1e3:.4g} ± {part.uncertainty * 1e3:.2g}" for part in (energy.net, energy.gross)
        )
        idle, load = energy.idle_watts.value, energy.load_watts.value
        lines.append(f"{one.sensor:<32} {one.scope:<20} {net:>20} {gross:>20} {idle:>8.2f} {load:>8.2f}")
    if len(report.minute_p50_seconds) > 1:
        first, last = report.minute_p50_seconds[0], report.minute_p50_seconds[-1]
        lines.append(
            f"median of the first minute {first * 1e3:.3f} ms, of the last {last * 1e3:.3f} ms; "
            f"throttled in {report.throttled_ratio:.0%} of the samples"
        )
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"not read throughout: {name}: {reason}" for name, reason in report.broken.items()]
    lines += [f"invalid: {reason}" for reason in report.invalid]
    return "\n".join(lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def cycle(frames: Sequence[Any], infer: Callable[[Any], object]) -> Callable[[], object]:
    """Return an inference on one frame after the other, from the first again after the last."""
    turn = itertools.cycle(frames)
    return lambda: infer(next(turn))
