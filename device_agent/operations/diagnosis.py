"""``edgewright-agent diag``: what is wrong on this machine, and what to do; one finding a line. Changes nothing, loads no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from device_agent.check.disk import spool_room
from device_agent.config import named_models
from device_agent.config.paths import socket_path
from device_agent.contract.errors import EdgewrightError
from device_agent.operations.status_socket import read_status, understood
from device_agent.sensors.host import clock_is_synchronized
from device_agent.startup import verify_artifact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from device_agent.config import AgentConfig

Verdict = Literal["ok", "warning", "error"]

_FULL_RATIO: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        verdict: Whether it is as it should be.
        text: What was found.
        cure: What to do; empty when there is nothing to do.
    """

    name: str
    verdict: Verdict
    text: str
    cure: str = ""


def diagnose(config: AgentConfig) -> tuple[Finding, ...]:
    """Look at the running agent, and at what it stands on."""
    findings: list[Finding] = []
    path = socket_path(config)
    try:
        status = read_status(path)
        with understood(path):
            findings += list(_of_status(status, config))
    except EdgewrightError as error:
        findings.append(Finding(name="agent", verdict="error", text=str(error), cure="Start it."))
    artifacts = (
        _artifact(one, "artifact" if one is config else f"artifact of {name}")
        for name, one in named_models(config)
    )
    return (*findings, *artifacts, *_updates(config), _disk(config), _clock())


def as_lines(findings: tuple[Finding, ...]) -> str:
    """Return the findings for people."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<8}{finding.name}: {finding.text}")
        if finding.cure:
            lines.append(f"        {finding.cure}")
    return "\n".join(lines)


def _of_status(status: Mapping[str, Any], config: AgentConfig) -> Iterator[Finding]:
    agent, health = status["agent"], status.get("health", {})
    up = health.get("status") == "up"
    yield Finding(
        name="agent",
        verdict="ok" if up else "error" if agent.get("phase") == "stuck" else "warning",
        text=f"pid {agent.get('pid')}, {agent.get('phase')}, {health.get('status')}"
        + (f": {health['reason']}" if health.get("reason") else ""),
        cure="" if up else "The reason says what is wrong; `edgewright-agent status` has the last errors.",
    )
    broker = status.get("broker", {})
    if config.mqtt.enabled and broker:
        connected = broker["connected"]
        yield Finding(
            name="broker",
            verdict="ok" if connected else "warning",
            text=f"{broker['address']}: {'connected' if connected else 'away'} for {broker['since_seconds']:.0f} s"
            + (f": {broker['reason']}" if broker["reason"] else ""),
            cure=""
            if connected
            else "Messages wait in the spool; see whether host, port, access and TLS are right.",
        )
    spool = status.get("spool")
    if spool:
        share = spool["bytes"] / (
            config.spool.max_bytes if spool["on_disk"] else config.spool.memory_max_bytes
        )
        bad = not spool["on_disk"] or share > _FULL_RATIO or spool["dropped_total"]
        yield Finding(
            name="spool",
            verdict="warning" if bad else "ok",
            text=f"{spool['messages']} messages, {100 * share:.0f} % full, {spool['dropped_total']} lost in this run"
            + ("" if spool["on_disk"] else "; it is in memory, for the disk cannot be written")
            + (f"; {stranded} more lie there" if (stranded := spool.get("stranded_messages")) else ""),
            cure="When it is full, the oldest results and measurements go." if bad else "",
        )


def _artifact(config: AgentConfig, name: str) -> Finding:
    try:
        archive = verify_artifact(config)
    except EdgewrightError as error:
        return Finding(
            name=name,
            verdict="error",
            text=str(error),
            cure="Copy it again, or convert for this device.",
        )
    manifest = archive.manifest
    return Finding(
        name=name,
        verdict="ok",
        text=f"{manifest.name} {manifest.version} for {manifest.target} is whole",
    )


def _updates(config: AgentConfig) -> tuple[Finding, ...]:
    if config.update.url is None:
        return ()
    from device_agent.update.outlook import state_text  # noqa: PLC0415  who wants no updates pays for none

    return (Finding(name="updates", verdict="ok", text=state_text(config)),)


def _disk(config: AgentConfig) -> Finding:
    folder = config.spool.path.parent
    try:
        room = spool_room(config)
        made = "" if folder.exists() else "will be made; "
    except OSError as error:
        return Finding(
            name="disk",
            verdict="error",
            text=f"{folder}: {error.strerror or error}",
            cure="Set spool.path to a file in a folder that the agent may make and write.",
        )
    return Finding(
        name="disk",
        verdict="warning" if room.is_short else "ok",
        text=f"{folder}: {made}{room.text}",
        cure=room.cure,
    )


def _clock() -> Finding:
    if clock_is_synchronized():
        return Finding(name="clock", verdict="ok", text="set by a time service")
    return Finding(
        name="clock",
        verdict="warning",
        text="no time service vouches for it",
        cure="Run systemd-timesyncd or chrony: certificates and the age of commands are judged by it.",
    )
