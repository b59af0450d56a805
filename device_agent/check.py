"""``edgewright-agent check``: what is configured, what this machine offers, and whether the agent could run. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Final

from device_agent.broker import broker_settings
from device_agent.contract.errors import EdgewrightError
from device_agent.contract.topics import DeviceTopics
from device_agent.engines import available
from device_agent.frames import FrameDoor, open_source
from device_agent.sensors.host import clock_is_synchronized, host_facts
from device_agent.sensors.reading import Absent
from device_agent.sensors.survey import Sensors
from device_agent.startup import described_versions, verify_artifact
from device_agent.telemetry.mqtt import BrokerConnection, BrokerReport, Connected, Disconnected, Will

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig

_SLACK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found.

    Attributes:
        problem: The first error that would keep the agent from running; None when it could run.
        facts: Section to (name to what was found), in the order to be shown.
    """

    problem: EdgewrightError | None
    facts: Mapping[str, Mapping[str, object]]


def check(config: AgentConfig) -> CheckReport:
    """Look at everything that can be known without running."""
    artifact, problem = _artifact(config)
    facts: dict[str, Mapping[str, object]] = {
        "artifact": artifact,
        "engines": available(),
        "broker": _broker(config),
        "spool": _spool(config.spool.path),
        "machine": {**host_facts(), "clock": "synced" if clock_is_synchronized() else "unsynced"},
        "sensors": _sensors(config),
    }
    return CheckReport(problem=problem, facts=facts)


def as_text(report: CheckReport) -> str:
    """Return the facts for people, one a line."""
    lines = []
    for section, found in report.facts.items():
        lines.append(f"{section}:")
        lines += [f"  {name}: {value}" for name, value in found.items()] or ["  none"]
    return "\n".join(lines)


def _artifact(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    found: dict[str, object] = {"path": str(config.artifact.path)}
    try:
        archive = verify_artifact(config)
        manifest = archive.manifest
        found |= {
            "model": f"{manifest.name} {manifest.version}",
            "target": manifest.target,
            "target checked": "yes" if config.device.targets else "no: device.targets is not set",
            "engine": f"{manifest.requires.engine}: {described_versions(manifest.requires)}",
            "verdict": manifest.verdict,
            "golden samples": len(manifest.golden),
            "digest": archive.digest,
        }
        door = FrameDoor()
        open_source(config.source, manifest, door=door, on_refused=lambda _: None).close()
    except EdgewrightError as error:
        return {**found, "refused": str(error)}, error
    return {**found, "compatible": "yes"}, None


def _broker(config: AgentConfig) -> Mapping[str, object]:
    """Log in to the broker, under another client id, so that a running agent keeps its connection; nothing is published."""
    if not config.mqtt.enabled:
        return {"enabled": False}
    where = f"{config.mqtt.host}:{config.mqtt.port}"
    reports: SimpleQueue[BrokerReport] = SimpleQueue()
    try:
        settings = broker_settings(config, client_id_suffix="-check")
        topic = DeviceTopics(config.device.id, config.mqtt.topic_root).birth() + "-check"
        connection = BrokerConnection(
            number=0, settings=settings, will=Will(topic=topic, payload=b""), report=reports.put
        )
    except EdgewrightError as error:
        return {where: f"cannot be used: {error}"}
    try:
        report = reports.get(timeout=2 * config.mqtt.connect_timeout_seconds + _SLACK_SECONDS)
    except Empty:
        return {where: "no answer; messages would wait in the spool"}
    finally:
        connection.close()
        connection.join(_SLACK_SECONDS)
    match report:
        case Connected():
            return {where: f"accepts us, MQTT {config.mqtt.version}"}
        case Disconnected(reason=reason):
            return {where: f"not reached: {reason}; messages would wait in the spool"}
        case _:
            return {where: "answers out of turn"}


def _spool(path: Path) -> Mapping[str, object]:
    folder = next((parent for parent in path.parents if parent.exists()), None)
    if folder is None or not folder.is_dir():
        return {str(path): "cannot be there: its folder is no folder; messages would wait in memory"}
    return {str(path): "is there" if path.exists() else "will be made"}


def _sensors(config: AgentConfig) -> Mapping[str, object]:
    folder = next((parent for parent in config.spool.path.parents if parent.is_dir()), config.spool.path)
    sensors = Sensors(
        sysfs_root=config.sensors.sysfs_root,
        state_directory=folder,
        pss_interval_seconds=config.telemetry.pss_interval_seconds,
    )
    now = monotonic()
    values: dict[str, float | Absent] = dict(sensors.system(now))
    values |= {one.name: one.value for one in (*sensors.heat(), *sensors.power(now))}
    return {
        name: f"absent: {value.reason}" if isinstance(value, Absent) else value
        for name, value in values.items()
    }
