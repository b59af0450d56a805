"""`compare`: one artifact against another in a store: windows, outputs, and which devices differ from the rest."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import InputError
from host_tools.review.analysis import checks, input_drift, output_drift, wording
from host_tools.review.analysis.comparison import ALPHA, MIN_DEVICES, compare_windows
from host_tools.review.analysis.explanation import by_labels
from host_tools.review.analysis.findings import Check, Comparison, Explanation, Finding, Verdict, ordered
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.analysis.reading import ROWS, Fleet, read_fleet
from host_tools.review.analysis.regressions import regressions
from host_tools.review.analysis.some_devices import worse_on_some
from host_tools.review.analysis.told_once import told_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.review.analysis.findings import MeasureComparison
    from host_tools.review.analysis.reading import Answers
    from host_tools.review.store.windows import InputTable, OutputTable, Selection

_ORDER: tuple[Verdict, ...] = ("worse", "unclear", "better", "no_worse")
_SPLIT_SHARE = 0.1


def compare(
    store: Answers,
    artifact_a: str,
    artifact_b: str,
    selection: Selection,
    *,
    margins: Mapping[str, float] | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
    rows: int = ROWS,
) -> Comparison:
    """Compare artifact B with A.

    Args:
        store: Where the telemetry is.
        artifact_a: Digest of what B is held against.
        artifact_b: Digest.
        selection: Which windows; its artifacts do not count.
        margins: By measure (`measures.MEASURES`), from where on worse matters; the measure's own elsewhere.
        alpha: Chance of any false difference in the whole comparison.
        seed: Of what is drawn at random.
        rows: About how many windows to read at most.

    Raises:
        InputError: An artifact did not run in the selection, both are the same, a margin is of no measure, or the selection
            is empty.
        StoreError: The database cannot do its work.
    """
    if artifact_a == artifact_b:
        raise InputError(
            f"compare: expected two artifacts, got {wording.artifact(artifact_a)} twice.",
            hint="Give the digests of two artifacts.",
        )
    unknown = [name for name in margins or {} if name not in MEASURES]
    if unknown or any(not value > 0 for value in (margins or {}).values()) or not 0 < alpha < 1:
        raise InputError(
            f"compare: expected margins above 0 and alpha between 0 and 1, got {dict(margins or {})} and {alpha}.",
            hint=f"Measures are {', '.join(MEASURES)}.",
        )
    fleet = read_fleet(store, dataclasses.replace(selection, artifacts=None), rows=rows)
    ran = set(fleet.table.key("artifact").tolist()) - {None}
    for digest in (artifact_a, artifact_b):
        if digest not in ran:
            raise InputError(
                f"compare: artifact {wording.artifact(digest)} did not run in the selected windows.",
                hint=f"Those that did: {', '.join(wording.artifact(one) for one in sorted(ran)) or 'none'}.",
            )
    return compare_in_fleet(store, fleet, artifact_a, artifact_b, margins=margins, alpha=alpha, seed=seed)


def compare_in_fleet(
    store: Answers,
    fleet: Fleet,
    artifact_a: str,
    artifact_b: str,
    *,
    margins: Mapping[str, float] | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Comparison:
    """As `compare`, of a fleet that is read already; both artifacts ran in it."""
    groups = fleet.groups
    windows = compare_windows(
        fleet.table, artifact_a, artifact_b, groups=groups, margins=margins, alpha=alpha, seed=seed
    )
    pairing = windows.pairing
    start = min(pairing.switched_at.values(), default=fleet.selection.start)
    end = fleet.selection.end
    found = [
        one.explained(_split(fleet, one, windows.own[one.effect.measure], pairing.paired.devices))
        for one in regressions(windows, artifact_a, artifact_b, groups=groups, start=start, end=end)
        if one.effect is not None
    ]
    some = worse_on_some(windows, artifact_a, artifact_b, groups=groups, start=start, end=end)
    peers = {
        one.group: [name for name in pairing.paired.devices if groups.get(name, "") == one.group]
        for one in some
    }
    found += [checks.labelled(fleet, one, peers[one.group]) for one in some]
    drift, drift_checks = _drift(store, fleet, artifact_a, artifact_b, start=start, seed=seed)
    return Comparison(
        artifact_a=artifact_a,
        artifact_b=artifact_b,
        selection=fleet.selection,
        alpha=alpha,
        devices_both=len(pairing.paired.devices),
        devices_a=len(pairing.paired.devices) + len(pairing.only_a.inferences),
        devices_b=len(pairing.paired.devices) + len(pairing.only_b.inferences),
        measures=windows.measures,
        curves=windows.curves,
        verdict=_verdict(windows.measures),
        findings=ordered((*told_once(found), *drift)),
        checks=drift_checks,
        notes=(*windows.notes, *(check.note for check in drift_checks if check.note)),
    )


def pairs(fleet: Fleet) -> tuple[tuple[str, str], ...]:
    """Return each artifact with the one that devices ran before it, where enough devices changed; the latest first."""
    counts: dict[tuple[str, str], int] = {}
    latest: dict[tuple[str, str], float] = {}
    for told in fleet.switches.values():
        for at, old, new in told:
            counts[old, new] = counts.get((old, new), 0) + 1
            latest[old, new] = max(latest.get((old, new), at), at)
    enough = [pair for pair, count in counts.items() if count >= MIN_DEVICES and pair[::-1] not in counts]
    both_ways = [
        pair for pair, count in counts.items() if count >= MIN_DEVICES and counts.get(pair[::-1], 0) < count
    ]
    chosen = sorted({*enough, *both_ways}, key=lambda pair: (-latest[pair], pair))
    return tuple(chosen)


def _split(
    fleet: Fleet, finding: Finding, own: NDArray[np.float64], names: tuple[str, ...]
) -> tuple[Explanation, ...]:
    """Labels that tell paired devices that changed much from those that changed little."""
    rows = np.array(
        [not finding.group or fleet.groups.get(name) == finding.group for name in names], dtype=bool
    ) & np.isfinite(own)
    if finding.effect is None or rows.sum() < MIN_DEVICES:
        return ()
    values = np.sign(finding.effect.change) * own[rows]
    ends = np.quantile(values, [_SPLIT_SHARE, 1 - _SPLIT_SHARE])
    much = values > ends.mean()
    kept = [name for name, keep in zip(names, rows, strict=True) if keep]
    return by_labels({name for name, one in zip(kept, much, strict=True) if one}, kept, fleet.labels)


def _drift(
    store: Answers, fleet: Fleet, artifact_a: str, artifact_b: str, *, start: float, seed: int
) -> tuple[tuple[Finding, ...], tuple[Check, ...]]:
    """Hold what models gave, and what they were shown, with B against the same with A."""
    ran = dataclasses.replace(fleet.selection, artifacts=(artifact_a, artifact_b))
    outputs = store.outputs(ran, level=fleet.level, by=("device", "artifact"))
    inputs = store.inputs(ran, level=fleet.level, by=("device", "artifact"))
    given = output_drift.drifts(
        outputs, _sides(outputs, artifact_a, artifact_b), groups=fleet.groups, seed=seed
    )
    shown = input_drift.drifts(inputs, _sides(inputs, artifact_a, artifact_b), groups=fleet.groups, seed=seed)
    about, end = (artifact_a, artifact_b), fleet.selection.end
    since = f"with {wording.artifact(artifact_b)} against {wording.artifact(artifact_a)}"
    of_outputs = output_drift.told(given, artifacts=about, start=start, end=end, since=since)
    of_inputs = input_drift.told(shown, artifacts=about, start=start, end=end, since=since)
    needed = f"that needs {output_drift.MIN_DEVICES} devices of one target that"
    return (*of_outputs, *of_inputs), (
        Check(
            kind="output_drift",
            looked_at=len(given),
            found=len(of_outputs),
            note=""
            if given
            else f"Outputs were not compared: {needed} published results with both artifacts, and {output_drift.MIN_FRAMES} results of each.",
        ),
        Check(
            kind="input_drift",
            looked_at=len(shown),
            found=len(of_inputs),
            note="" if shown else f"Inputs were not compared: {needed} told of theirs with both artifacts.",
        ),
    )


def _sides(table: OutputTable | InputTable, artifact_a: str, artifact_b: str) -> NDArray[np.int64]:
    """Return of each row 0 for A, 1 for B."""
    artifacts = table.keys[table.axes.index("artifact")]
    return np.where(artifacts == artifact_b, 1, np.where(artifacts == artifact_a, 0, -1)).astype(np.int64)


def _verdict(measures: tuple[MeasureComparison, ...]) -> Verdict:
    told = {
        one.verdict
        for one in measures
        if one.verdict in ("worse", "better")
        or not (one.group or (MEASURES[one.measure].follows_weather and one.design == "paired"))
    } - {"too_few"}
    return next((verdict for verdict in _ORDER if verdict in told), "too_few")
