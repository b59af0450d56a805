"""`review_fleet`, `weekly` and `examine_device`: all of the analysis for a store, ordered by how grave it is."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import InputError
from host_tools.review.analysis import checks, input_drift, output_drift, percentiles, wording
from host_tools.review.analysis.artifacts import compare_in_fleet, pairs
from host_tools.review.analysis.findings import (
    Check,
    Comparison,
    DeviceReview,
    Finding,
    Review,
    WeeklyReview,
    ordered,
)
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.analysis.reading import ROWS, Fleet, check_span, read_fleet
from host_tools.review.analysis.regroup import regroup
from host_tools.review.analysis.told_once import told_once
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.review.analysis.reading import Answers
    from host_tools.review.store.windows import InputTable, OutputTable, WindowTable

WEEK_SECONDS = 7 * 86400.0
_MOST_COMPARISONS = 4
"""Changes of artifact that a review compares, the latest first."""


def review_fleet(store: Answers, selection: Selection, *, seed: int = 0, rows: int = ROWS) -> Review:
    """Look for everything in what is selected.

    Args:
        store: Where the telemetry is.
        selection: Which windows; a week tells most.
        seed: Of what is drawn at random; the same seed gives the same review.
        rows: About how many windows to read at most.

    Raises:
        InputError: The selection is empty or ends before it starts.
        StoreError: The database cannot do its work.
    """
    return _review(store, read_fleet(store, selection, rows=rows), seed=seed)


def weekly(
    store: Answers,
    *,
    end: float,
    labels: tuple[tuple[str, str], ...] = (),
    seed: int = 0,
    rows: int = ROWS,
) -> WeeklyReview:
    """Review the seven days before ``end`` (Unix seconds) beside the seven before them.

    Raises:
        InputError: No device has these labels.
        StoreError: The database cannot do its work.
    """
    selection = Selection(start=end - WEEK_SECONDS, end=end, labels=labels)
    fleet = read_fleet(store, selection, rows=rows)
    earlier = dataclasses.replace(selection, start=end - 2 * WEEK_SECONDS, end=end - WEEK_SECONDS)
    before = store.windows(earlier, level=Level.HOUR, by=("device",))
    heard_before = set(before.key("device").tolist())
    heard = set(fleet.table.key("device").tolist())
    return WeeklyReview(
        review=_review(store, fleet, seed=seed),
        before=_totals(before) if heard_before else {},
        added=tuple(
            sorted(one.device for one in fleet.devices if selection.start <= one.first_received < end)
        ),
        gone=tuple(sorted(heard_before - heard)),
    )


def examine_device(
    store: Answers, device: str, selection: Selection, *, seed: int = 0, rows: int = ROWS
) -> DeviceReview:
    """Review one device beside those of the same target.

    Args:
        store: Where the telemetry is.
        device: Device id.
        selection: Which windows; its devices do not count.
        seed: Of what is drawn at random.
        rows: About how many windows to read at most.

    Raises:
        InputError: The device is not known, or the selection ends before it starts.
        StoreError: The database cannot do its work.
    """
    check_span(selection)
    known = {one.device: one for one in store.devices()}
    if device not in known:
        raise InputError(
            f"review: device {device!r} is not known.",
            hint=f"{len(known)} devices are known; `edgewright review serve` lists them.",
        )
    labels = known[device].labels
    target = dict(labels).get("target")
    peers = tuple(sorted(name for name, one in known.items() if dict(one.labels).get("target") == target))
    fleet = read_fleet(store, dataclasses.replace(selection, devices=peers), rows=rows)
    whole = _review(store, fleet, seed=seed)
    mine = tuple(one for one in whole.findings if device in one.devices)
    values, middles, ranks, count = _beside_peers(fleet, device)
    own = fleet.only(frozenset({device}))
    return DeviceReview(
        device=device,
        labels=labels,
        review=dataclasses.replace(
            whole,
            selection=dataclasses.replace(selection, devices=(device,)),
            devices=1,
            reporting=int(len(own.table.inferences) > 0),
            artifacts=tuple(one for one in whole.artifacts if one in set(own.table.key("artifact").tolist())),
            findings=mine,
            totals=_totals(own.table),
        ),
        peers=count,
        ranks=ranks,
        values=values,
        peer_values=middles,
    )


def _review(store: Answers, fleet: Fleet, *, seed: int) -> Review:
    comparisons = tuple(
        compare_in_fleet(store, fleet, old, new, seed=seed) for old, new in pairs(fleet)[:_MOST_COMPARISONS]
    )
    checked = checks.all_checks(store, fleet)
    drift, drift_check = _drift_over_time(store, fleet, seed=seed)
    inputs, inputs_check = _inputs_over_time(store, fleet, seed=seed)
    found: list[Finding] = [*drift, *inputs]
    for one in comparisons:
        found += one.findings
    for findings, _ in checked:
        found += told_once(findings)
    reporting = set(fleet.table.key("device").tolist())
    return Review(
        selection=fleet.selection,
        level=fleet.level,
        devices=len(fleet.devices),
        reporting=len(reporting),
        artifacts=store.artifacts(fleet.selection),
        findings=ordered(_without_echoes(found)),
        comparisons=comparisons,
        checks=(
            *_comparison_checks(comparisons),
            _with_comparisons(drift_check, comparisons),
            _with_comparisons(inputs_check, comparisons),
            *(check for _, check in checked),
        ),
        totals=_totals(fleet.table),
    )


def _without_echoes(found: list[Finding]) -> list[Finding]:
    """Turn down changes that a comparison tells already: they came with the artifact, on whole groups."""
    regressed = {one.group for one in found if one.kind in ("regression", "improvement")}
    quiet = []
    for one in found:
        came_with = any(why.by == "artifact" for why in one.explanations)
        is_echo = one.kind == "change_point" and came_with and (one.group in regressed or "" in regressed)
        quiet.append(dataclasses.replace(one, severity="info") if is_echo else one)
    return quiet


def _comparison_checks(comparisons: tuple[Comparison, ...]) -> tuple[Check, ...]:
    kinds = [one.kind for comparison in comparisons for one in comparison.findings]
    asked = sum(one.verdict != "too_few" for comparison in comparisons for one in comparison.measures)
    note = "" if comparisons else "No artifact followed another on enough devices."
    return (
        Check(kind="regression", looked_at=asked, found=kinds.count("regression"), note=note),
        Check(kind="improvement", looked_at=asked, found=kinds.count("improvement"), note=note),
    )


def _with_comparisons(check: Check, comparisons: tuple[Comparison, ...]) -> Check:
    """Return a check of two halves of the span with what was looked at, and found, of one artifact against another."""
    also = [one for comparison in comparisons for one in comparison.checks if one.kind == check.kind]
    looked_at = check.looked_at + sum(one.looked_at for one in also)
    found = check.found + sum(one.found for one in also)
    return dataclasses.replace(check, looked_at=looked_at, found=found, note="" if looked_at else check.note)


def _drift_over_time(store: Answers, fleet: Fleet, *, seed: int) -> tuple[tuple[Finding, ...], Check]:
    """The second half of the span against the first, of devices by the artifact that they ran in both."""
    span = fleet.selection
    middle = (span.start + span.end) / 2
    middle -= middle % Level.HOUR.seconds
    outputs = store.outputs(span, level=Level.HOUR, by=("device", "artifact", "time"))
    sides = _halves(outputs, fleet, middle)
    drifts = output_drift.drifts(outputs, sides, groups=fleet.groups, seed=seed)
    found = output_drift.told(
        drifts, artifacts=(), start=middle, end=span.end, since=f"since about {wording.moment(middle)}"
    )
    note = "" if drifts else "Too few devices published results with one artifact in both halves of the span."
    return found, Check(kind="output_drift", looked_at=len(drifts), found=len(found), note=note)


def _inputs_over_time(store: Answers, fleet: Fleet, *, seed: int) -> tuple[tuple[Finding, ...], Check]:
    """The same of what models are shown."""
    span = fleet.selection
    middle = (span.start + span.end) / 2
    middle -= middle % Level.HOUR.seconds
    inputs = store.inputs(span, level=Level.HOUR, by=("device", "artifact", "time"))
    drifts = input_drift.drifts(inputs, _halves(inputs, fleet, middle), groups=fleet.groups, seed=seed)
    found = input_drift.told(
        drifts, artifacts=(), start=middle, end=span.end, since=f"since about {wording.moment(middle)}"
    )
    note = (
        "" if drifts else "Too few devices told of their inputs with one artifact in both halves of the span."
    )
    return found, Check(kind="input_drift", looked_at=len(drifts), found=len(found), note=note)


def _halves(table: OutputTable | InputTable, fleet: Fleet, middle: float) -> NDArray[np.int64]:
    """Return of each row 0 before the middle, 1 from it on, -1 where the device's artifact was not the one of now."""
    times = table.keys[table.axes.index("time")].astype(np.float64)
    latest = {one.device: one.artifact for one in fleet.devices}
    names, artifacts = (table.keys[table.axes.index(axis)].tolist() for axis in ("device", "artifact"))
    same = np.array([latest.get(name) == one for name, one in zip(names, artifacts, strict=True)], dtype=bool)
    return np.where(same, (times >= middle).astype(np.int64), -1)


def _totals(table: WindowTable) -> dict[str, float]:
    """Figures of everything in a table."""
    if not len(table.inferences):
        return {}
    whole = regroup(table, ())
    latencies = percentiles.quantiles(
        whole.hist, (0.5, 0.9, 0.95, 0.99), lowest=whole.latency_min, highest=whole.latency_max
    )[0]
    named = zip((50, 90, 95, 99), latencies, strict=True)
    totals = {f"latency_p{share}_seconds": float(value) for share, value in named}
    totals["inferences"] = float(whole.inferences[0])
    totals["errors"] = float(whole.errors[0])
    totals["dropped"] = float(whole.dropped[0])
    totals["starts"] = float(whole.starts[0])
    for name in ("energy_per_inference_joules", "temperature_celsius", "throttled_ratio", "failure_ratio"):
        totals[name] = float(MEASURES[name].values(whole)[0])
    return {name: value for name, value in totals.items() if math.isfinite(value)}


def _beside_peers(
    fleet: Fleet, device: str
) -> tuple[Mapping[str, float], Mapping[str, float], Mapping[str, float], int]:
    """Values of a device, medians of its peers, the share of them that do better, and how many there are."""
    table = fleet.latest_cool
    names, artifacts = table.key("device"), table.key("artifact")
    rows = np.flatnonzero(names == device)
    if not rows.size:
        return {}, {}, {}, 0
    mine = rows[0]
    peers = np.flatnonzero((artifacts == artifacts[mine]) & (names != device))
    values, middles, ranks = {}, {}, {}
    for name, measure in MEASURES.items():
        all_values = measure.values(table)
        others = all_values[peers][np.isfinite(all_values[peers])]
        if math.isfinite(all_values[mine]):
            values[name] = float(all_values[mine])
            if others.size:
                middles[name] = float(np.median(others))
                ranks[name] = float(np.mean(measure.worse * others < measure.worse * all_values[mine]))
    return values, middles, ranks, len(peers)
