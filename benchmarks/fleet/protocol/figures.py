"""What came of it, as JSON and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.marked import write_marked

if TYPE_CHECKING:
    from benchmarks.fleet.protocol.costs import Cost
    from benchmarks.fleet.protocol.rollouts import RolloutFigures
    from benchmarks.fleet.protocol.stand import StandSettings

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "rollouts.md"
_MARK: Final = "protocol"
_MEBIBYTE: Final = 1 << 20
_TITLES: Final = {
    "server": "fleet server",
    "broker": "broker",
    "ingest": "ingest and its page",
    "repository": "repository's HTTP server",
    "devices": "all devices",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFigures:
    """A whole run.

    Attributes:
        command: That made it.
        settings: How large, and how quick.
        soak_seconds: Of each stage.
        machine: Facts of it.
        versions: Of what took part.
        up_seconds: Until all devices were heard.
        quiet_seconds: For so long nothing was rolled out.
        quiet: What that took, by program.
        rollouts: In order.
    """

    command: str
    settings: StandSettings
    soak_seconds: float
    machine: dict[str, str]
    versions: dict[str, str]
    up_seconds: float
    quiet_seconds: float
    quiet: dict[str, Cost]
    rollouts: tuple[RolloutFigures, ...]


def to_json(figures: ProtocolFigures) -> str:
    """Return everything as JSON, but for the database's address, which may bear a password."""
    settings = replace(figures.settings, database=_database(figures))
    return json.dumps(asdict(replace(figures, settings=settings)), indent=1) + "\n"


def to_markdown(figures: ProtocolFigures) -> str:
    """Return the tables."""
    return "\n".join([*_durations(figures), "", *_costs(figures), "", *_told(figures)]) + "\n"


def write_into_docs(figures: ProtocolFigures, document: Path = DOCUMENT) -> None:
    """Put the tables in their place."""
    write_marked(document, _MARK, to_markdown(figures))


def _durations(figures: ProtocolFigures) -> list[str]:
    lines = [
        "| rollout | stage | devices | s, begin to end | s, begin to signed | s, signed to first commit | s, signed to last commit |",
        "|---|---|---|---|---|---|---|",
    ]
    for rollout in figures.rollouts:
        name = f"{rollout.name}, server killed in the middle" if rollout.killed else rollout.name
        for stage in rollout.stages:
            lines.append(
                f"| {name} | {stage.name} | {stage.devices:,} | {stage.seconds:.0f} | {_seconds(stage.signing_seconds, 2)} | "
                f"{_seconds(stage.first_commit_seconds)} | {_seconds(stage.last_commit_seconds)} |"
            )
        lines.append(
            f"| {name} | whole | {rollout.jobs.jobs:,} | {rollout.seconds:.0f} | | | {rollout.signed_to_last_commit_seconds:.0f} |"
        )
    return lines


def _costs(figures: ProtocolFigures) -> list[str]:
    phases = [
        (f"{figures.quiet_seconds:.0f} s without a rollout", figures.quiet_seconds, figures.quiet),
        *((rollout.name, rollout.seconds, rollout.costs) for rollout in figures.rollouts),
    ]
    devices = figures.settings.devices
    lines = [
        "| program | while | processor s | share of a core | processor ms a device | peak RSS MiB | peak PSS MiB | PSS KiB a device |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for program, title in _TITLES.items():
        for phase, seconds, costs in phases:
            cost = costs.get(program)
            if cost is not None:
                lines.append(
                    f"| {title} | {phase} | {cost.processor_seconds:.1f} | {cost.processor_seconds / seconds:.2f} | "
                    f"{1e3 * cost.processor_seconds / devices:.1f} | {cost.peak_rss_bytes / _MEBIBYTE:.0f} | "
                    f"{cost.peak_pss_bytes / _MEBIBYTE:.0f} | {cost.peak_pss_bytes / 1024 / devices:.1f} |"
                )
    return lines


def _told(figures: ProtocolFigures) -> list[str]:
    lines = []
    for rollout in figures.rollouts:
        jobs, count = rollout.jobs, rollout.messages
        killed = (
            f" The server was killed when half of the jobs were done, and answered again after {rollout.down_seconds:.0f} s."
            if rollout.killed
            else ""
        )
        lines.append(
            f"- **{rollout.name}**: {jobs.succeeded:,} of {jobs.jobs:,} jobs succeeded at the first attempt; {jobs.devices_once:,} devices "
            f"began, tried, activated and committed the release once each, {jobs.devices_more} did something twice, {jobs.devices_less} left "
            f"something out; the audit is {'whole' if jobs.audit_whole else 'BROKEN'}. {count['acknowledged']:,} messages, "
            f"{rollout.messages_per_second:.0f} a second ({count.get('m', 0):,} of telemetry, {count.get('e', 0):,} events, "
            f"{count.get('twin', 0):,} reported states, {count.get('status', 0):,} births and health).{killed}{_kills(rollout)}"
        )
        outcomes = ", ".join(f"{measure} {told.partition(':')[0]}" for measure, told in rollout.gates.items())
        lines.append(f"  Gates at the end: {outcomes.replace('_', ' ')}.")
    settings = figures.settings
    lines += [
        "",
        f"`{figures.command}`; one run. {settings.devices:,} devices in {settings.processes} processes; a look for updates every "
        f"{settings.check_seconds:g} s, a window of telemetry (four messages) every {settings.window_seconds:g} s, "
        f"{settings.rate_hz:g} drawn inferences a second, "
        f"probation {settings.probation_seconds:g} s, artifacts of {settings.artifact_bytes / 1024:.0f} KiB; the default plan, but each stage soaks "
        f"{figures.soak_seconds:g} s; {_database(figures)}. {figures.up_seconds:.0f} s until all devices were heard.",
        f"{figures.machine['processor']}, {figures.machine['cores']} cores, {figures.machine['system']}, load average before and after "
        f"{figures.machine['load average before']} and {figures.machine['load average after']}{_load(figures)}; edgewright {figures.versions['edgewright']}, Python {figures.versions['python']}.",
    ]
    return lines


def _kills(rollout: RolloutFigures) -> str:
    """Return what was killed at random moments, in words; empty where nothing was."""
    if not rollout.kills:
        return ""
    told = []
    for program in dict.fromkeys(one.program for one in rollout.kills):
        mine = [one.down_seconds for one in rollout.kills if one.program == program]
        down = f", there again after {max(mine):.0f} s at most" if max(mine) else ""
        told.append(f"{program} {len(mine)} times{down}")
    return f" Killed at random moments of its stages, and started again: {'; '.join(told)}."


def _load(figures: ProtocolFigures) -> str:
    """Return what a load of others means; nothing where there was none to speak of."""
    cores = int(figures.machine["cores"].partition(" ")[0])
    loaded = (
        float(figures.machine["load average before"].partition(" ")[0]) > cores
    )  # a minute's mean: what ended just before is in it
    return (
        " (**under the load of other work**: everything took longer than on a quiet machine)"
        if loaded
        else ""
    )


def _database(figures: ProtocolFigures) -> str:
    return "PostgreSQL" if figures.settings.database else "SQLite"


def _seconds(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"
