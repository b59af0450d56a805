"""`AgentConfig`: everything the agent can be told, from one TOML file. Every limit is a field with its unit in its name.

Keys are strict: one that is not known is refused, with the one that was probably meant. Relative paths start at the
file's own folder. The password is never in the file: it is read from a file of its own or from the environment, and
never printed.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from device_agent.config_section import read_section, setting
from device_agent.contract.commands import OPERATIONS
from device_agent.contract.digest import checked_digest
from device_agent.contract.errors import ConfigError, ContractError
from device_agent.contract.topics import DEFAULT_ROOT, checked_device_id, checked_root

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

EngineChoice = Literal["auto", "onnx", "tflite", "openvino", "null"]
SourceKind = Literal["directory", "replay", "mqtt", "http", "camera", "null"]
Overflow = Literal["drop_oldest", "drop_newest", "block"]
MqttVersion = Literal["3.1.1", "5"]
LogFormat = Literal["text", "json", "journal"]
LogLevel = Literal["debug", "info", "warning", "error"]

_DAY_SECONDS: Final = 86_400.0
_WITH_PATH: Final = ("directory", "replay", "camera")
_MAX_FILE_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOPIC_FILTER: Final = re.compile(r"(?:(?:\+|[^+#/]*)/)*(?:\+|#|[^+#/]*)")
"""Source: MQTT 3.1.1, section 4.7.1: ``+`` and ``#`` fill a whole level, ``#`` only the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSection:
    """Who this device is.

    Attributes:
        id: 1 to 64 letters, digits, ``_`` and ``-``; it stands in every topic.
        targets: Capability profiles whose artifacts may run here; empty: any, which the agent says.
    """

    id: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSection:
    """What to run.

    Attributes:
        path: The ``.ewa`` file.
        digest: ``sha256:…`` of the file; when given, another file is refused before it is parsed.
        max_bytes: Largest file that is opened.
    """

    path: Path
    digest: str | None = None
    max_bytes: int = setting(1 << 31, low=1, high=1 << 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSection:
    """What runs it.

    Attributes:
        name: ``auto`` takes the engine that the artifact asks for.
        threads: Threads of one inference.
        max_consecutive_errors: After so many failed inferences in a row the agent gives up.
    """

    name: EngineChoice = "auto"
    threads: int = setting(1, low=1, high=256)
    max_consecutive_errors: int = setting(1_000, low=1, high=1 << 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSection:
    """Where frames come from.

    Attributes:
        kind: ``directory`` of pictures or ``.npy``, ``replay`` of an ``.npz``, ``mqtt`` topic, ``http`` for programs on this
            machine, ``camera`` (V4L2) or video file, or ``null`` (zeros).
        path: Directory, file or camera (``/dev/video0``); for ``directory``, ``replay`` and ``camera``.
        topic: Where frames arrive; for ``mqtt``; by default the device's own ``…/i/frame``.
        loop: Begin again at the end; for ``directory`` and ``replay``. A directory is listed anew each time.
        watch: Wait for new files instead of ending; for ``directory``.
        rate_hz: Frames a second at most; 0: as fast as they come.
        max_frames: Stop after so many; 0: never.
        queue_frames: Frames that wait; for ``mqtt``, ``http`` and ``camera``.
        overflow: When as many wait: ``drop_oldest`` or ``drop_newest``, which is counted, or ``block`` whoever brings more;
            not for ``mqtt``.
        http_address: Where it listens; for ``http``.
        http_port: TCP port; for ``http``.
        http_timeout_seconds: How long a client waits for its result; for ``http``.
        max_frame_bytes: Largest frame that is accepted; for ``mqtt`` and ``http``. An MQTT message 64 KiB larger ends the
            connection before it is kept.
    """

    kind: SourceKind = "null"
    path: Path | None = None
    topic: str | None = None
    loop: bool = False
    rate_hz: float = setting(0.0, low=0.0, high=100_000.0)
    max_frames: int = setting(0, low=0, high=1 << 53)
    watch: bool = False
    queue_frames: int = setting(4, low=1, high=10_000)
    overflow: Overflow = "drop_oldest"
    http_address: str = "127.0.0.1"
    http_port: int = setting(8_090, low=1, high=65_535)
    http_timeout_seconds: float = setting(10.0, low=0.1, high=3_600.0)
    max_frame_bytes: int = setting(16 << 20, low=1, high=1 << 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsSection:
    """Where outputs go. Results are sampled and queued, so that writing them never holds up inference; what is dropped is counted.

    Attributes:
        mqtt: Publish them under ``…/o/inference``.
        jsonl: Append them to this file, one a line; ``-`` is standard output.
        jsonl_max_bytes: When the file is larger it is renamed to ``….1`` (replacing an older one) and begun anew.
        top_k: Largest values that are kept of an output of more than ``raw_max_values``.
        raw_max_values: Outputs of at most so many values are written whole.
        max_rate_hz: Results a second at most; the other frames are inferred and not written. 0: all.
        queue_results: Results that wait to be written.
    """

    mqtt: bool = False
    jsonl: Path | None = None
    jsonl_max_bytes: int = setting(64 << 20, low=1 << 12, high=1 << 40)
    top_k: int = setting(5, low=1, high=1_000)
    raw_max_values: int = setting(16, low=0, high=4_096)
    max_rate_hz: float = setting(1.0, low=0.0, high=100_000.0)
    queue_results: int = setting(64, low=1, high=65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSection:
    """The broker.

    Attributes:
        enabled: False keeps everything in the spool: for a device that is read out by hand.
        host: Name or address.
        port: TCP port.
        version: ``3.1.1`` works everywhere; ``5`` adds the delay of the last will, and messages that are refused are told.
        topic_root: What every topic begins with.
        client_id: By default ``edgewright-`` and the device id.
        username: For brokers that ask for one.
        password_file: File whose first line is the password.
        password_env: Environment variable that holds it.
        tls_ca: File with the certificate authorities; switches TLS on. With ``identity.folder`` only for a broker that another
            authority has certified.
        tls_cert: The device's certificate; not with ``identity.folder``, which has one.
        tls_key: Its key; likewise.
        tls_server_name: What the broker's certificate must name, where that is not ``host``.
        keepalive_seconds: After one and a half times this the broker publishes the last will.
        connect_timeout_seconds: For one attempt.
        reconnect_min_seconds: First pause between attempts; doubled each time. Half of every pause is random, so
            that a fleet does not come back in one instant.
        reconnect_max_seconds: Longest pause.
        ack_timeout_seconds: A broker that leaves a message unacknowledged for so long is connected anew.
        will_delay_seconds: How long the broker waits with the last will; MQTT 5 only.
        max_inflight_messages: Messages sent and not yet acknowledged.
        max_messages_per_second: Rate of sending, so that a long backlog does not drown broker and link.
        payload_max_bytes: Largest message; a larger one is dropped, counted and said. Samples of many sensors leave out the last.
    """

    enabled: bool = True
    host: str = "localhost"
    port: int = setting(1_883, low=1, high=65_535)
    version: MqttVersion = "3.1.1"
    topic_root: str = DEFAULT_ROOT
    client_id: str | None = None
    username: str | None = None
    password_file: Path | None = None
    password_env: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = None
    keepalive_seconds: int = setting(30, low=5, high=65_535)
    connect_timeout_seconds: float = setting(5.0, low=0.1, high=300.0)
    reconnect_min_seconds: float = setting(0.5, low=0.05, high=3_600.0)
    reconnect_max_seconds: float = setting(60.0, low=0.05, high=_DAY_SECONDS)
    ack_timeout_seconds: float = setting(30.0, low=1.0, high=3_600.0)
    will_delay_seconds: int = setting(0, low=0, high=86_400)
    max_inflight_messages: int = setting(20, low=1, high=1_000)
    max_messages_per_second: float = setting(200.0, low=0.1, high=100_000.0)
    payload_max_bytes: int = setting(16_384, low=4_096, high=1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySection:
    """The certificate that ``edgewright-agent enrol`` gets, and its renewal; see `docs/enrolment.md`.

    Attributes:
        folder: Where key and certificate are kept, writable by the agent; with it the broker is reached by mutual TLS.
        renew_share: Renewed when this share of its validity is left.
        renew_pause_seconds: Longest pause between two looks at the certificate, and so between attempts; up to half of it is
            taken off at random.
    """

    folder: Path | None = None
    renew_share: float = setting(1 / 3, low=0.01, high=0.99)
    renew_pause_seconds: float = setting(3_600.0, low=1.0, high=_DAY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySection:
    """What is measured, and how often.

    Attributes:
        interval_seconds: Length of a window: one message a type at its end.
        pss_interval_seconds: How often the proportional memory is read.
    """

    interval_seconds: float = setting(10.0, low=0.1, high=_DAY_SECONDS)
    pss_interval_seconds: float = setting(60.0, low=0.1, high=_DAY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSection:
    """Where messages wait for the broker.

    Attributes:
        path: Database file, in a folder that the agent may write.
        max_bytes: Bound on disk; the write-ahead file may add 1 MiB.
        max_messages: Bound in number.
        memory_max_bytes: Bound while the disk cannot be written.
        commit_interval_seconds: How long a message may wait for a common write; events are written at once.
        drain_timeout_seconds: How long the agent waits, at its end, for the broker to take what is left.
    """

    path: Path
    max_bytes: int = setting(64 << 20, low=1 << 20, high=1 << 40)
    max_messages: int = setting(200_000, low=100, high=1 << 31)
    memory_max_bytes: int = setting(4 << 20, low=1 << 16, high=1 << 30)
    commit_interval_seconds: float = setting(1.0, low=0.0, high=60.0)
    drain_timeout_seconds: float = setting(5.0, low=0.1, high=600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorsSection:
    """Where sensors are read.

    Attributes:
        sysfs_root: The kernel's ``/sys``, or a tree that stands for it.
        vcgencmd: Program that asks a Raspberry Pi's firmware; by default the one in ``PATH``, for ``/sys`` alone.
        idle_watts: What the machine draws without inferences, as ``edgewright-agent measure`` tells it for its first sensor;
            telemetry has no net energy without it.
    """

    sysfs_root: Path = Path("/sys")
    vcgencmd: Path | None = None
    idle_watts: float | None = setting(None, low=0.0, high=100_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatSection:
    """What the agent does when it gets hot: nothing, unless a temperature is set. Measures add up as it gets hotter.

    Attributes:
        slow_celsius: From here on at most ``slow_rate_hz`` frames a second.
        slow_rate_hz: Frames a second while it is that hot.
        variant_celsius: From here on the artifact at ``variant_path`` runs instead.
        variant_path: A smaller ``.ewa`` with the same inputs, outputs and preprocessing.
        variant_digest: ``sha256:…`` of it; when given, another file is refused.
        pause_celsius: From here on nothing is inferred.
        hysteresis_celsius: How far below its temperature a measure is taken back.
        hold_seconds: For how long it must be that cool; up to 16 times as long where a measure soon had to be taken again.
        interval_seconds: How often the temperature is read.
        sensors: Readings to go by, of which the hottest counts; none: every thermal zone, or the processor's chips.
    """

    slow_celsius: float | None = setting(None, low=-40.0, high=200.0)
    slow_rate_hz: float = setting(1.0, low=0.001, high=100_000.0)
    variant_celsius: float | None = setting(None, low=-40.0, high=200.0)
    variant_path: Path | None = None
    variant_digest: str | None = None
    pause_celsius: float | None = setting(None, low=-40.0, high=200.0)
    hysteresis_celsius: float = setting(5.0, low=0.5, high=50.0)
    hold_seconds: float = setting(30.0, low=1.0, high=3_600.0)
    interval_seconds: float = setting(2.0, low=0.1, high=60.0)
    sensors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSection:
    """Where signed updates come from, and what a new model must show. Needs the extra ``update``; docs/updates.md.

    Attributes:
        url: Of the repository, ``http`` or ``https``; without it there are no updates.
        root: Bootstrap root metadata (``root.json``): the keys that are trusted to begin with.
        directory: Where artifacts and state are kept; it must survive a restart.
        group: Whose desired state counts when the device has none of its own.
        first_check_seconds: From the start to the first check.
        check_interval_seconds: Between checks.
        check_timeout_seconds: For one check.
        require_synced_clock: Check only while a time service vouches for the clock.
        stall_seconds: A download from which nothing comes for so long is broken off.
        min_bytes_per_second: Likewise one that is slower, over 30 s.
        fetch_timeout_seconds: For one attempt at a download; the next goes on where it stopped.
        trial_timeout_seconds: For loading and testing a new model in its child process.
        trial_memory_max_bytes: Address space of that process.
        trial_attempts: A new model is tried so often; more means that its trial takes the device down.
        shadow_frames: Frames of the run beside the current model; 0: no such run.
        shadow_timeout_seconds: How long frames are waited for.
        shadow_duty_ratio: Share of one core's time that the run may take.
        shadow_min_cosine: Least mean cosine between both models' outputs.
        probation_seconds: A new model runs so long before it is kept.
        probation_inferences: And gives so many results.
        probation_max_seconds: Without that many by then it is taken back.
        probation_p95_ratio: Largest p95 of the latency, over that of the model before.
        probation_error_ratio: Largest share of inferences that fail.
        probation_bad_windows: So many telemetry windows in a row beyond a limit, and it is taken back.
        probation_starts: It may be started so often before it is kept.
        tls_ca: Authorities of the repository's server; by default those of ``identity.folder``, else the system's.
        tls_cert: The device's certificate; by default that of ``identity.folder``.
        tls_key: Its key.
    """

    url: str | None = None
    root: Path | None = None
    directory: Path | None = None
    group: str | None = None
    first_check_seconds: float = setting(30.0, low=0.0, high=_DAY_SECONDS)
    check_interval_seconds: float = setting(3_600.0, low=0.1, high=30 * _DAY_SECONDS)
    check_timeout_seconds: float = setting(300.0, low=1.0, high=_DAY_SECONDS)
    require_synced_clock: bool = True
    stall_seconds: float = setting(30.0, low=0.1, high=3_600.0)
    min_bytes_per_second: float = setting(256.0, low=0.0, high=1e9)
    fetch_timeout_seconds: float = setting(21_600.0, low=1.0, high=30 * _DAY_SECONDS)
    trial_timeout_seconds: float = setting(300.0, low=1.0, high=_DAY_SECONDS)
    trial_memory_max_bytes: int = setting(4 << 30, low=1 << 26, high=1 << 40)
    trial_attempts: int = setting(3, low=1, high=100)
    shadow_frames: int = setting(50, low=0, high=1_000_000)
    shadow_timeout_seconds: float = setting(300.0, low=0.1, high=_DAY_SECONDS)
    shadow_duty_ratio: float = setting(0.25, low=0.01, high=1.0)
    shadow_min_cosine: float = setting(0.8, low=-1.0, high=1.0)
    probation_seconds: float = setting(600.0, low=0.0, high=30 * _DAY_SECONDS)
    probation_inferences: int = setting(100, low=1, high=1 << 53)
    probation_max_seconds: float = setting(_DAY_SECONDS, low=0.1, high=365 * _DAY_SECONDS)
    probation_p95_ratio: float = setting(2.0, low=1.0, high=1_000.0)
    probation_error_ratio: float = setting(0.05, low=0.0, high=1.0)
    probation_bad_windows: int = setting(3, low=1, high=1_000)
    probation_starts: int = setting(3, low=1, high=100)
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """What the agent writes to standard error.

    Attributes:
        format: ``text`` for people, ``json`` lines for collectors, ``journal`` for systemd's.
        level: The least that is written.
    """

    format: LogFormat = "text"
    level: LogLevel = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandsSection:
    """What may be commanded from afar; who may command, the broker's access rules say.

    Attributes:
        allowed: Of ``restart_model``, ``snapshot``, ``log_level``, ``pause`` and ``resume``; an empty list: none, and the
            agent listens to no command.
        max_waiting: Commands that wait while one is done; more are refused.
        max_per_minute: Commands that get an answer, refusals included; more are counted and told.
        max_age_seconds: A request that is older by the device's clock is refused.
        timeout_seconds: A command that takes longer has failed.
        remembered: Ends that are remembered, so that a command that comes twice is not done twice.
    """

    allowed: tuple[str, ...] = OPERATIONS
    max_waiting: int = setting(8, low=1, high=1_000)
    max_per_minute: float = setting(30.0, low=1.0, high=6_000.0)
    max_age_seconds: float = setting(3_600.0, low=1.0, high=30 * _DAY_SECONDS)
    timeout_seconds: float = setting(60.0, low=0.1, high=3_600.0)
    remembered: int = setting(64, low=1, high=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSection:
    """Where ``edgewright-agent status`` asks.

    Attributes:
        socket: Unix socket, for the agent's own user; by default ``agent.sock`` beside the spool.
    """

    socket: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A whole configuration; each attribute is the TOML table of its name."""

    device: DeviceSection
    artifact: ArtifactSection
    spool: SpoolSection
    engine: EngineSection = field(default_factory=EngineSection)
    source: SourceSection = field(default_factory=SourceSection)
    results: ResultsSection = field(default_factory=ResultsSection)
    mqtt: MqttSection = field(default_factory=MqttSection)
    identity: IdentitySection = field(default_factory=IdentitySection)
    telemetry: TelemetrySection = field(default_factory=TelemetrySection)
    sensors: SensorsSection = field(default_factory=SensorsSection)
    heat: HeatSection = field(default_factory=HeatSection)
    commands: CommandsSection = field(default_factory=CommandsSection)
    status: StatusSection = field(default_factory=StatusSection)
    update: UpdateSection = field(default_factory=UpdateSection)
    log: LogSection = field(default_factory=LogSection)


_SECTIONS: Final[Mapping[str, type[Any]]] = {
    "device": DeviceSection,
    "artifact": ArtifactSection,
    "engine": EngineSection,
    "source": SourceSection,
    "results": ResultsSection,
    "mqtt": MqttSection,
    "identity": IdentitySection,
    "telemetry": TelemetrySection,
    "spool": SpoolSection,
    "sensors": SensorsSection,
    "heat": HeatSection,
    "commands": CommandsSection,
    "status": StatusSection,
    "update": UpdateSection,
    "log": LogSection,
}
_REQUIRED: Final = ("device", "artifact", "spool")


def load_config(path: Path | str) -> AgentConfig:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read or is wrong; the message names file and key.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.", hint="Is the path right?") from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes; this is some other file.")
    return parse_config(data, origin=path.name, folder=path.resolve().parent)


def parse_config(data: bytes, *, origin: str, folder: Path) -> AgentConfig:
    """Read a configuration from TOML.

    Args:
        data: The file's bytes.
        origin: Its name, for messages.
        folder: Where relative paths start.

    Raises:
        ConfigError: It is wrong; the message names ``origin`` and key.
    """
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))  # some editors put a byte-order mark in front
    except (
        ValueError,
        RecursionError,
    ) as error:  # of text, of TOML, and of integers with thousands of digits
        raise ConfigError(f"{origin}: not valid TOML: {error}.") from error
    sections = read_section(document, _SECTIONS, where=origin, folder=folder)
    missing = [name for name in _REQUIRED if name not in document]
    if missing:
        raise ConfigError(
            f"{origin}: table [{missing[0]}] is missing.", hint="docs/agent.md has an example, and every key."
        )
    config = AgentConfig(**sections)
    _check_together(config, origin)
    return config


def mqtt_password(config: MqttSection, *, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the broker's password, or None when the configuration names none. Never log it.

    Raises:
        ConfigError: The file cannot be read or is empty, or the variable is not set.
    """
    if config.password_env is not None:
        password = environment.get(config.password_env, "")
        if not password:
            raise ConfigError(
                f"mqtt.password_env: the environment variable {config.password_env} is not set."
            )
        return password
    if config.password_file is None:
        return None
    try:
        lines = config.password_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file: {config.password_file} cannot be read: {error}.") from error
    if not lines or not lines[0]:
        raise ConfigError(f"mqtt.password_file: {config.password_file} is empty.")
    return lines[0]


def described(config: AgentConfig) -> dict[str, dict[str, object]]:
    """Return every setting as plain JSON values, for ``check --json``. Holds no secret: the configuration has none."""
    return {
        name: {key: _plain(value) for key, value in dataclasses.asdict(getattr(config, name)).items()}
        for name in _SECTIONS
    }


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _check_together(config: AgentConfig, origin: str) -> None:
    """Check what one key alone cannot tell.

    Raises:
        ConfigError: Two settings contradict each other, or a name is not in its grammar.
    """
    _in_grammar(lambda: checked_device_id(config.device.id), f"{origin}: device.id")
    _in_grammar(lambda: checked_root(config.mqtt.topic_root), f"{origin}: mqtt.topic_root")
    if config.artifact.digest is not None:
        digest = config.artifact.digest
        _in_grammar(lambda: checked_digest(digest, where="digest"), f"{origin}: artifact.digest")
    unknown = [name for name in config.commands.allowed if name not in OPERATIONS]
    if unknown:
        raise ConfigError(
            f"{origin}: commands.allowed: expected names of {', '.join(OPERATIONS)}, got {unknown[0][:80]!r}."
        )
    if config.heat.variant_digest is not None:
        variant = config.heat.variant_digest
        _in_grammar(lambda: checked_digest(variant, where="digest"), f"{origin}: heat.variant_digest")
    source, mqtt, spool, heat = config.source, config.mqtt, config.spool, config.heat
    update = config.update
    rules = (
        (source.kind in _WITH_PATH and source.path is None,
         f"source.path: is missing; source.kind {source.kind!r} needs it."),
        (source.kind not in _WITH_PATH and source.path is not None,
         f"source.path: source.kind {source.kind!r} takes none."),
        (source.watch and source.kind != "directory",
         f"source.watch: source.kind {source.kind!r} watches nothing."),
        (source.watch and source.loop, "source.watch: gives every file once; give it or source.loop, not both."),
        (source.overflow == "block" and source.kind == "mqtt",
         "source.overflow: 'block' would hold up the broker's connection; choose drop_oldest or drop_newest."),
        (source.kind == "mqtt" and not mqtt.enabled, "source.kind: 'mqtt' needs mqtt.enabled = true."),
        (source.topic is not None and not _TOPIC_FILTER.fullmatch(source.topic),
         f"source.topic: {source.topic!r} is no MQTT topic filter."),
        (source.kind != "mqtt" and source.topic is not None,
         f"source.topic: source.kind {source.kind!r} takes none."),
        (mqtt.password_file is not None and mqtt.password_env is not None,
         "mqtt.password_file: give it or mqtt.password_env, not both."),
        (mqtt.username is None and (mqtt.password_file or mqtt.password_env) is not None,
         "mqtt.username: is missing; a password goes with a user name."),
        ((mqtt.tls_cert is None) != (mqtt.tls_key is None),
         "mqtt.tls_cert: certificate and mqtt.tls_key go together."),
        (mqtt.tls_cert is not None and config.identity.folder is not None,
         "mqtt.tls_cert: identity.folder has the device's certificate; give one of the two."),
        (mqtt.tls_cert is not None and mqtt.tls_ca is None, "mqtt.tls_ca: is missing; it switches TLS on."),
        (mqtt.tls_server_name is not None and mqtt.tls_ca is None and config.identity.folder is None,
         "mqtt.tls_ca: is missing; mqtt.tls_server_name is for TLS."),
        (mqtt.reconnect_min_seconds > mqtt.reconnect_max_seconds,
         "mqtt.reconnect_min_seconds: is above mqtt.reconnect_max_seconds."),
        (mqtt.will_delay_seconds > 0 and mqtt.version != "5",
         "mqtt.will_delay_seconds: needs mqtt.version = \"5\"."),
        (spool.max_bytes < 2 * mqtt.max_inflight_messages * mqtt.payload_max_bytes,
         "spool.max_bytes: must be at least twice mqtt.max_inflight_messages times mqtt.payload_max_bytes."),
        ((heat.variant_celsius is None) != (heat.variant_path is None),
         "heat.variant_path: it and heat.variant_celsius go together."),
        (heat.variant_digest is not None and heat.variant_path is None,
         "heat.variant_digest: heat.variant_path is missing."),
        (heat.slow_celsius is not None and 0.0 < source.rate_hz <= heat.slow_rate_hz,
         "heat.slow_rate_hz: must be below source.rate_hz."),
        (update.url is not None and (update.root is None or update.directory is None),
         "update.url: needs update.root and update.directory."),
        (update.url is not None and not update.url.startswith(("http://", "https://")),
         "update.url: expected http:// or https://."),
        (update.group is not None and not _NAME.fullmatch(update.group),
         "update.group: expected 1 to 64 letters, digits, _ and -."),
        ((update.tls_cert is None) != (update.tls_key is None),
         "update.tls_cert: certificate and update.tls_key go together."),
        (update.tls_cert is not None and update.tls_ca is None,
         "update.tls_ca: is missing; it goes with update.tls_cert."),
        (update.probation_seconds > update.probation_max_seconds,
         "update.probation_seconds: is above update.probation_max_seconds."),
    )  # fmt: skip
    for broken, message in rules:
        if broken:
            raise ConfigError(f"{origin}: {message}")


def _in_grammar(check: Any, where: str) -> None:
    try:
        check()
    except ContractError as error:
        raise ConfigError(f"{where}: {error}") from error
