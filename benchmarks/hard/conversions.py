"""The conversions of the hard rows, ours and the peers', each once, in a fresh process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.findings import Finding, Limit, fresh_processes
from benchmarks.tasks import Task, run_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.hard.rows import Peer, Row
    from benchmarks.material import Material
    from benchmarks.options import Options
    from benchmarks.tasks import Outcome
    from host_tools.progress import Progress

WHOLE_LIMIT: Final = Limit(bound=600.0, at_most=True)
SHORT_LIMIT: Final = Limit(bound=120.0, at_most=True)
PEAK_LIMIT: Final = Limit(bound=float(2 << 30), at_most=True)
NOTES: Final = (
    "“Whole” is from starting the process to its end: imports, decoding 200 JPEG pictures, every stage of `--method auto`, running the file beside "
    "the float model and the diagnosis. Only latency is not measured in it. Once each, with an empty cache: what the machine does beside it is in it. "
    "The limit is 10 minutes, and 2 where no operator was reconstructed.",
    "A peer's seconds are its conversion, without imports.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the conversions left behind.

    Attributes:
        ours: Folder of each row's target, by target; absent where the conversion failed.
        theirs: Folder of each peer; absent likewise.
        missing: Why a target or peer is absent.
        findings: What they cost.
    """

    ours: dict[str, Path] = field(default_factory=dict)
    theirs: dict[Peer, Path] = field(default_factory=dict)
    missing: dict[str | Peer, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def measure(rows: Sequence[Row], options: Options, material: Material, progress: Progress) -> Made:
    """Convert for every row with everyone; a peer of several rows once."""
    made = Made()
    peers = peers_of(rows)
    progress.stage("Converting for hard targets", len(rows) + len(peers))
    for row in rows:
        out = options.work / "hard" / row.target
        outcome = run_once(_ours(row, material, out))
        if outcome.missing:
            made.missing[row.target] = outcome.missing
        else:
            made.ours[row.target] = out / row.target
        made.findings.extend(own_cost(row.target, outcome, out))
        progress.step()
    for peer in peers:
        out = options.work / "hard" / "-".join(filter(None, (peer.doer, peer.method, peer.scheme)))
        outcome = run_once(_theirs(peer, material, out, 60.0 * options.peer_minutes))
        if outcome.missing:
            made.missing[peer] = outcome.missing
        else:
            made.theirs[peer] = out
            made.findings.extend(_peer_cost(peer, outcome))
        progress.step()
    return made


def peers_of(rows: Sequence[Row]) -> list[Peer]:
    """Return the peers of some rows, each once."""
    return list(dict.fromkeys(peer for row in rows for peer in row.peers))


def _ours(row: Row, material: Material, out: Path) -> Task:
    return Task(
        doer="edgewright",
        model=material.model,
        data=material.calibration,
        preprocess=material.preprocess,
        out=out,
        targets=(row.target,),
    )


def _theirs(peer: Peer, material: Material, out: Path, most_seconds: float) -> Task:
    return Task(
        doer=peer.doer,
        model=material.model,
        data=material.calibration_arrays,
        preprocess=material.preprocess,
        out=out,
        method=peer.method,
        scheme=peer.scheme,
        most_seconds=most_seconds,
        evaluation=material.evaluation_arrays if peer.engine is None else None,
    )


def own_cost(target: str, outcome: Outcome, out: Path) -> list[Finding]:
    """Return what a conversion of ours cost, with its limits.

    Args:
        target: What it was for.
        outcome: What was measured.
        out: Where it wrote its ``report.json``, which names the stages that it took.
    """
    subject = f"Edgewright for {target}"
    if outcome.missing:
        return [
            Finding(
                subject=subject, figure="whole", unit="seconds", limit=WHOLE_LIMIT, missing=outcome.missing
            )
        ]
    [report] = json.loads((out / "report.json").read_text(encoding="utf-8"))["targets"]
    kept = [stage["name"] for stage in report["stages"] if stage["is_kept"]]
    is_long = any(stage["name"] == "reconstruction" for stage in report["stages"])
    laps = "; ".join(f"{name} {seconds:.0f} s" for name, seconds in outcome.laps.items())
    return [
        Finding(
            subject=subject,
            figure="whole",
            unit="seconds",
            value=outcome.seconds(),
            sample=fresh_processes(1),
            limit=WHOLE_LIMIT if is_long else SHORT_LIMIT,
            note=f"{laps}; stages kept: {', '.join(kept)}",
        ),
        _peak(subject, outcome, PEAK_LIMIT),
    ]


def _peer_cost(peer: Peer, outcome: Outcome) -> list[Finding]:
    seconds = outcome.seconds("imports", "evaluation")
    return [
        Finding(
            subject=peer.name,
            figure="conversion",
            unit="seconds",
            value=seconds,
            sample=fresh_processes(1),
        ),
        _peak(peer.name, outcome, None),
    ]


def _peak(subject: str, outcome: Outcome, limit: Limit | None) -> Finding:
    return Finding(
        subject=subject,
        figure="peak memory",
        unit="bytes",
        value=float(outcome.peak_bytes),
        sample=fresh_processes(1),
        limit=limit,
    )
