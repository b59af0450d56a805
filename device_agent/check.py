"""``edgewright-agent check``: what is configured, what this machine offers, and whether the agent could run. Changes nothing.

Everything that `Agent` does before its first inference is done here too, up to loading the payload and the self-test.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from device_agent.answers import Answers
from device_agent.broker import begin_connection, broker_settings
from device_agent.config import alone
from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.contract.topics import DeviceTopics
from device_agent.engines import available
from device_agent.enrolment.identity import IdentityFolder, utc_text
from device_agent.enrolment.renewal import due_seconds
from device_agent.frames import FrameDoor, open_source
from device_agent.heat.temperature import declared_rules, in_force, read_hottest
from device_agent.heat.variant import load_stand_in
from device_agent.memory_budget import MemoryBudget
from device_agent.sensors.host import clock_is_synchronized, host_facts
from device_agent.sensors.reading import Absent
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.startup import described_versions, load_payload, run_self_test, verify_artifact
from device_agent.telemetry.mqtt import BrokerReport, BrokerSettings, Connected, Disconnected, Will

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import Heat, Manifest

_SLACK_SECONDS: Final = 1.0
_LEAST_ROOM_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found.

    Attributes:
        problem: The first error that would keep the agent or one of its models from running, its messages from being kept on
            disk, or updates or the variant for heat from ever working; None when there is none. A broker or a repository that is away is no
            problem: messages and updates wait.
        facts: Section to (name to what was found), in the order to be shown.
    """

    problem: EdgewrightError | None
    facts: Mapping[str, Mapping[str, object]]


def check(config: AgentConfig) -> CheckReport:
    """Look at everything that can be known without inferring on frames."""
    # In the order of `Agent`: what the broker is told, then the spool, what updates begin with, and the artifact.
    broker, settings_problem = _broker(config)
    spool, spool_problem = _spool(config.spool.path)
    updates, updates_problem, waits_problem = _updates(config)
    artifact, artifact_problem = _artifact(config)
    models, models_problem = _models(config)
    heat, heat_problem = _heat(config)
    facts: dict[str, Mapping[str, object]] = {
        "artifact": artifact,
        **({"models": models} if models else {}),
        "engines": available(),
        "identity": _identity(config),
        "broker": broker,
        "spool": spool,
        "updates": updates,
        "heat": heat,
        "machine": {**host_facts(), "clock": "synced" if clock_is_synchronized() else "unsynced"},
        "sensors": sensors_found(config),
    }
    ends = settings_problem or updates_problem or artifact_problem
    stays = spool_problem or models_problem or waits_problem or heat_problem
    return CheckReport(problem=ends or stays, facts=facts)


def as_text(report: CheckReport) -> str:
    """Return the facts for people, one a line."""
    lines = []
    for section, found in report.facts.items():
        lines.append(f"{section}:")
        for name, value in found.items():
            if isinstance(value, Mapping):  # one of several models
                lines += [f"  {name}:", *(f"    {key}: {inner}" for key, inner in value.items())]
            else:
                lines.append(f"  {name}: {value}")
        if not found:
            lines.append("  none")
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
        found["self-test"] = _self_test(archive, config)
        open_source(
            config.source,
            manifest,
            door=door,
            on_refused=lambda _: None,
            describe=Answers(manifest.outputs, config.results),
        ).close()
    except EdgewrightError as error:
        return {**found, "refused": str(error)}, error
    split = _split(config, manifest)
    if isinstance(split, EdgewrightError):
        return {**found, "split": f"refused: {split}"}, split
    return {**found, **split, "compatible": "yes"}, None


def _split(config: AgentConfig, like: Manifest) -> Mapping[str, object] | EdgewrightError:
    """Load side b, if there is to be one."""
    wanted = config.split
    if wanted.path is None:
        return {}
    most = config.engine.memory_max_bytes
    try:
        archive, engine = load_stand_in(config, wanted.path, wanted.digest, like=like, memory_max_bytes=most)
    except EdgewrightError as error:
        return error
    engine.close()
    manifest = archive.manifest
    return {
        "split": f"{wanted.ratio:g} of the frames go to {manifest.name} {manifest.version}, {archive.digest}"
    }


def _models(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Look at each model beside the main one as at that."""
    found = {model.name: _artifact(alone(config, model)) for model in config.model}
    problem = next((problem for _, problem in found.values() if problem is not None), None)
    return {name: facts for name, (facts, _) in found.items()}, problem


def _self_test(archive: ArtifactArchive, config: AgentConfig) -> str:
    with ExitStack() as after, MemoryBudget(config.engine.memory_max_bytes).spending():
        engine, _ = load_payload(archive, threads=config.engine.threads)
        after.callback(engine.close)
        tested = run_self_test(archive, engine)
    if not tested.samples:
        return "the artifact brings no golden samples"
    return f"{tested.samples} golden samples: within {tested.largest_lsb:g} LSB"


def _broker(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Log in to the broker, under another client id, so that a running agent keeps its connection; nothing is published."""
    where = f"{config.mqtt.host}:{config.mqtt.port}"
    try:
        settings = broker_settings(config, client_id_suffix="-check")
    except EdgewrightError as error:
        return {where: f"cannot be used: {error}"}, error
    if not config.mqtt.enabled:
        return {"enabled": False}, None
    return {where: _answer(config, settings)}, None


def _identity(config: AgentConfig) -> Mapping[str, object]:
    """Say whose certificate it is and until when; whether it can be used at all, `_broker` has found out."""
    folder, now = config.identity.folder, time()
    if folder is None:
        return {}
    try:
        identity = IdentityFolder(folder).required(config.device.id)
        key_mode = (folder / "current" / "device.key").stat().st_mode
    except (EdgewrightError, OSError) as error:
        return {str(folder): f"cannot be used: {error}"}
    due = due_seconds(identity, share_left=config.identity.renew_share)
    over = "; it has ended: enrol with a new token" if identity.not_after_seconds <= now else ""
    return {
        "device": identity.device,
        "certificate": identity.serial,
        "authority": identity.url,
        "valid until": f"{utc_text(identity.not_after_seconds)}{over}",
        "renewal": f"from {utc_text(due)}",
        "key": "readable by the agent alone" if not key_mode & 0o077 else "others can read it: chmod 600",
    }


def _answer(config: AgentConfig, settings: BrokerSettings) -> str:
    topic = DeviceTopics(config.device.id, config.mqtt.topic_root).birth() + "-check"
    reports: SimpleQueue[BrokerReport] = SimpleQueue()
    connection = begin_connection(0, settings, will=Will(topic=topic, payload=b""), report=reports.put)
    try:
        report = reports.get(timeout=2 * config.mqtt.connect_timeout_seconds + _SLACK_SECONDS)
    except Empty:
        return "no answer; messages would wait in the spool"
    finally:
        connection.close()
        connection.join(_SLACK_SECONDS)
    match report:
        case Connected():
            return f"accepts us, MQTT {config.mqtt.version}"
        case Disconnected(reason=reason):
            return f"not reached: {reason}; messages would wait in the spool"
        case _:
            return "answers out of turn"


def _spool(path: Path) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Ask whether the spool's file can be written or made."""
    try:
        is_there = path.exists()
        if is_there:
            os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        _require_writable(path.parent)
        return {str(path): "is there" if is_there else "will be made"}, None
    except OSError as error:
        problem = StorageError(
            f"spool.path: {path}: cannot be written: {error.strerror or error}; messages would wait in memory, and be lost "
            "with the agent.",
            hint="Choose a folder that the agent may write.",
        )
        return {str(path): str(problem)}, problem


def _updates(
    config: AgentConfig,
) -> tuple[Mapping[str, object], EdgewrightError | None, EdgewrightError | None]:
    """Say what updates begin with; return what would end the agent, and what would keep it from taking any."""
    if config.update.url is None:
        return {}, None, None
    from device_agent.update.bootstrap import read_bootstrap  # noqa: PLC0415  who wants none pays for none
    from device_agent.update.outlook import outlook  # noqa: PLC0415  likewise

    found: dict[str, object] = {"repository": config.update.url}
    try:
        bootstrap = read_bootstrap(config)
    except EdgewrightError as error:
        return {**found, "refused": str(error)}, error, None
    found["root"] = f"{bootstrap.root}, version {bootstrap.version}"
    folder = bootstrap.folder
    try:
        _require_writable(folder)
    except OSError as error:
        problem = StorageError(
            f"update.directory: {folder}: cannot be written: {error.strerror or error}; no update would be taken.",
            hint="Choose a folder that the agent may write.",
        )
        return {**found, "directory": str(problem)}, None, problem
    found["directory"] = f"{folder}, {'is there' if folder.exists() else 'will be made'}"
    told, waits = outlook(config, bootstrap)
    return {**found, **told}, None, waits


def _heat(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Say what the policy would go by, and load the variant: it should not be found out in the heat that it cannot be used."""
    heat = in_force(config.heat, _declared_heat(config))
    rules = declared_rules(heat)
    if rules is None:
        return {}, None
    now = read_hottest(_sensors(config), heat.sensors)
    found: dict[str, object] = {
        "declared by": "the configuration" if heat is config.heat else "the artifact",
        "measures": ", ".join(f"{step.measure} from {step.celsius:g} °C" for step in rules.steps),
        "temperature": f"cannot be read, so nothing will be done: {now.reason}"
        if isinstance(now, Absent)
        else now,
    }
    if heat.variant_celsius is None or heat.variant_path is None:
        return found, None
    try:
        like = verify_artifact(config).manifest
    except EdgewrightError:
        return {**found, "variant": "not looked at, for the artifact cannot be used"}, None
    try:
        archive, engine = load_stand_in(
            config,
            heat.variant_path,
            heat.variant_digest,
            like=like,
            memory_max_bytes=config.engine.memory_max_bytes,
        )
    except EdgewrightError as error:
        return {**found, "variant": f"refused: {error}"}, error
    engine.close()
    return {**found, "variant": f"{archive.manifest.name} {archive.manifest.version}"}, None


def _declared_heat(config: AgentConfig) -> Heat | None:
    try:
        return verify_artifact(config).manifest.heat
    except EdgewrightError:
        return None  # which `_artifact` tells


def _require_writable(folder: Path) -> None:
    """Make a file in the folder, or where it would be made; it is gone at once.

    Raises:
        OSError: It cannot be made.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    with tempfile.TemporaryFile(dir=there) as stream:
        stream.write(bytes(_LEAST_ROOM_BYTES))  # a full disk opens files, and makes empty ones
        stream.flush()


def sensors_found(config: AgentConfig) -> Mapping[str, object]:
    """Return what every sensor reads now, or why it reads nothing."""
    sensors = _sensors(config)
    now = monotonic()
    values: dict[str, float | Absent] = dict(sensors.system(now))
    values |= {one.name: one.value for one in (*sensors.heat(), *sensors.power(now))}
    return {
        name: f"absent: {value.reason}" if isinstance(value, Absent) else value
        for name, value in values.items()
    }


def _sensors(config: AgentConfig) -> Sensors:
    folder = next((parent for parent in config.spool.path.parents if parent.is_dir()), config.spool.path)
    return Sensors(
        sysfs_root=config.sensors.sysfs_root,
        state_directory=folder,
        pss_interval_seconds=config.telemetry.pss_interval_seconds,
        vcgencmd=find_vcgencmd(config.sensors.vcgencmd, config.sensors.sysfs_root),
    )
