"""What `agent.toml` says of operation: commands from afar, the status, and updates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  `section` evaluates the annotations

from device_agent.config.section import DAY_SECONDS, setting
from device_agent.contract.commands import OPERATIONS


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
    max_age_seconds: float = setting(3_600.0, low=1.0, high=30 * DAY_SECONDS)
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
        probation_max_celsius: Highest temperature of a new model; by default only throttling and ``[heat]`` say that it is too hot.
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
    first_check_seconds: float = setting(30.0, low=0.0, high=DAY_SECONDS)
    check_interval_seconds: float = setting(3_600.0, low=0.1, high=30 * DAY_SECONDS)
    check_timeout_seconds: float = setting(300.0, low=1.0, high=DAY_SECONDS)
    require_synced_clock: bool = True
    stall_seconds: float = setting(30.0, low=0.1, high=3_600.0)
    min_bytes_per_second: float = setting(256.0, low=0.0, high=1e9)
    fetch_timeout_seconds: float = setting(21_600.0, low=1.0, high=30 * DAY_SECONDS)
    trial_timeout_seconds: float = setting(300.0, low=1.0, high=DAY_SECONDS)
    trial_memory_max_bytes: int = setting(4 << 30, low=1 << 26, high=1 << 40)
    trial_attempts: int = setting(3, low=1, high=100)
    shadow_frames: int = setting(50, low=0, high=1_000_000)
    shadow_timeout_seconds: float = setting(300.0, low=0.1, high=DAY_SECONDS)
    shadow_duty_ratio: float = setting(0.25, low=0.01, high=1.0)
    shadow_min_cosine: float = setting(0.8, low=-1.0, high=1.0)
    probation_seconds: float = setting(600.0, low=0.0, high=30 * DAY_SECONDS)
    probation_inferences: int = setting(100, low=1, high=1 << 53)
    probation_max_seconds: float = setting(DAY_SECONDS, low=0.1, high=365 * DAY_SECONDS)
    probation_p95_ratio: float = setting(2.0, low=1.0, high=1_000.0)
    probation_error_ratio: float = setting(0.05, low=0.0, high=1.0)
    probation_max_celsius: float | None = setting(None, low=-40.0, high=200.0)
    probation_bad_windows: int = setting(3, low=1, high=1_000)
    probation_starts: int = setting(3, low=1, high=100)
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
