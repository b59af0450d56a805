"""`Updates`: carries out what the machine decides. The agent's door: it says what happened and is told what to run."""

from __future__ import annotations

import fcntl
import logging
from dataclasses import replace
from time import monotonic, time
from typing import IO, TYPE_CHECKING, Any, Final

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.sensors.host import clock_is_synchronized
from device_agent.update import effects as do
from device_agent.update import notices
from device_agent.update import occurrences as was
from device_agent.update.bootstrap import read_bootstrap
from device_agent.update.children import Children
from device_agent.update.jobs import CheckJob, FetchJob, TrialJob
from device_agent.update.machine import UpdateLimits, UpdateMachine
from device_agent.update.probation import ProbationLimits
from device_agent.update.report import following
from device_agent.update.report import report as report_of
from device_agent.update.shadow import Tap
from device_agent.update.state import Release, UpdateState
from device_agent.update.state_file import StateFile
from device_agent.update.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig, ArtifactSection, UpdateSection
    from device_agent.contract.telemetry import Scalar
    from device_agent.engines.engine import Engine
    from device_agent.update.bootstrap import Bootstrap
    from device_agent.update.jobs import Answer
    from device_agent.update.report import Following
    from device_agent.update.state import Notice

_LOG = logging.getLogger("edgewright.update")
_MISMATCHES: Final = 3
_OF_THE_MODEL: Final = (
    "archive",
    "contract",
    "digest_mismatch",
    "engine",
    "incompatible",
    "memory_budget",
    "schema_version",
    "self_test",
    "self_test_nonfinite",
    "storage",
    "trust",
)
"""Codes of failures that another model would not have; a camera that is gone is none."""


class Updates:
    """Updates of one run of the agent. One thread calls it.

    Args:
        config: What the agent is told.
        report: Takes the end of a step, on another thread; it is to come back through `handle`.
        tell: Records an event durably.
        restart: Ends this process in order and begins it anew.
        children: What runs the steps; by default child processes.

    Attributes:
        artifact: What this process runs; set by `begin`.
        tap: The engine of that artifact, while it is loaded.

    Raises:
        ConfigError: The root metadata cannot be read, or are none.
        StorageError: Another agent uses the folder.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        report: Callable[[Answer], None],
        tell: Callable[[Notice], None],
        restart: Callable[[str], None],
        children: Children | None = None,
    ) -> None:
        self._config, self._section = config, config.update
        self._bootstrap = read_bootstrap(config)
        self._folder = self._bootstrap.folder
        self._lock = _locked(self._folder)
        self._file = StateFile(self._folder / "state.json")
        self._store = Store(self._folder / "store")
        self._children = children or Children(report)
        self._durable = self._read(tell)
        self._machine = UpdateMachine(self._durable, _limits(config.update))
        self._runs = False
        self._nonfinite = 0
        self.artifact: ArtifactSection = config.artifact
        self.tap: Tap | None = None
        self._actions: Mapping[type[Any], Callable[[Any], None]] = {
            do.WriteState: lambda effect: self._write(effect.state),
            do.TakeDelivered: lambda _: self._take_delivered(),
            do.Run: lambda effect: self._run(effect.release),
            do.RunDelivered: lambda _: self._run(None),
            do.Check: lambda _: self._check(),
            do.Fetch: self._fetch,
            do.Try: lambda effect: self._try(effect.release),
            do.Shadow: lambda effect: self._shadow(effect.release),
            do.Cancel: lambda _: self._children.cancel(),
            do.Tell: lambda effect: tell(effect.notice),
            do.Collect: lambda effect: self._collect(effect.kept),
            do.Restart: lambda effect: restart(effect.reason),
        }

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which `turn` wants to be called."""
        return self._machine.next_due_seconds

    @property
    def following(self) -> Following:
        """What is followed now, for the host."""
        group, targets = self._section.group or None, tuple(self._config.device.targets)
        return following(self._machine.state, group=group, targets=targets)

    def tapped(self, engine: Engine) -> Engine:
        """Return the engine of the artifact that runs, with its frames to be seen by a shadow run; on the worker's thread."""
        tap = Tap(engine)
        self._nonfinite, self.tap = 0, tap
        return tap

    def begin(self) -> ArtifactSection:
        """Return what this process is to run."""
        self._take_in(was.Started(_moment()))
        return self.artifact

    def turn(self, now_seconds: float) -> None:
        """Do what is due."""
        if now_seconds >= self._machine.next_due_seconds:
            self._take_in(was.Tick(_moment()))

    def handle(self, answer: Answer) -> None:
        """Take in the end of a step."""
        self._take_in(answer)

    def observed(
        self,
        *,
        inferences: int,
        errors: int,
        p95_seconds: float | None,
        celsius: float | None = None,
        heat: str = "",
    ) -> None:
        """Take in what a window of telemetry saw: results, latency, the temperature, and why the device was too hot."""
        nonfinite = 0 if self.tap is None else self.tap.nonfinite - self._nonfinite
        self._nonfinite += nonfinite
        self._take_in(
            was.Observed(
                inferences=inferences,
                errors=errors,
                p95_seconds=p95_seconds,
                nonfinite=nonfinite,
                heat=heat or self._too_hot(celsius),
            )
        )

    def _too_hot(self, celsius: float | None) -> str:
        most = self._section.probation_max_celsius
        if most is None or celsius is None or celsius <= most:
            return ""
        return f"{celsius:.1f} °C, update.probation_max_celsius is {most:g}"

    def failed(self, code: str, message: str) -> None:
        """Take in that the agent cannot go on."""
        if code in _OF_THE_MODEL:
            self._take_in(was.RunFailed(code=code, message=message))

    def status(self, now_seconds: float) -> Mapping[str, Scalar]:
        """Return what is worth knowing now, for whoever asks; see `report`."""
        machine = self._machine
        return report_of(
            machine.state,
            phase=machine.phase,
            inferences=machine.evidence_inferences,
            last=machine.last_check,
            now_seconds=now_seconds,
        )

    def stopping(self) -> None:
        """Take in that the agent ends in order."""
        self._take_in(was.Stopping())

    def close(self) -> None:
        """End what is under way, and let another agent have the folder."""
        self._children.cancel()
        if self._lock is not None:
            self._lock.close()

    # --- effects ---

    def _take_in(self, occurrence: was.Occurrence) -> None:
        for effect in self._machine.handle(occurrence):
            try:
                self._actions[type(effect)](effect)
            except StorageError as error:
                _LOG.error("the state of updates cannot be written: %s", error)
                unwritten = was.StateUnwritten(message=str(error), durable=self._durable, runs=self._runs)
                self._take_in(unwritten)
                return

    def _write(self, state: UpdateState) -> None:
        self._file.write(state)
        self._durable = state

    def _read(self, tell: Callable[[Notice], None]) -> UpdateState:
        try:
            state = self._file.read()
        except (
            StorageError
        ) as error:  # the first state: what was delivered runs, and that the rest is gone is told
            tell(notices.state_damaged(str(error)))
            return UpdateState()
        if self._file.damaged:
            state = replace(state, notices=(notices.state_damaged(self._file.damaged),))
        return state

    def _take_delivered(self) -> None:
        wanted = self._config.artifact
        try:
            digest = self._store.take(wanted.path)
            manifest = ArtifactArchive.open(
                self._store.path(digest), expected_digest=wanted.digest or digest
            ).manifest
        except EdgewrightError as error:
            self._take_in(was.Undelivered(message=str(error)))
            return
        release = Release(digest=digest, name=manifest.name, version=manifest.version, counter=0)
        self._take_in(was.DeliveredTaken(release))

    def _run(self, release: Release | None) -> None:
        self._runs = True
        if release is not None:
            path = self._store.path(release.digest)
            self.artifact = replace(self._config.artifact, path=path, digest=release.digest)

    def _check(self) -> None:
        self._children.start(
            check_job(self._config, self._bootstrap), timeout_seconds=self._section.check_timeout_seconds
        )

    def _fetch(self, effect: do.Fetch) -> None:
        job = FetchJob(
            network=self._bootstrap.network, store=str(self._folder / "store"), candidate=effect.candidate
        )
        self._children.start(job, timeout_seconds=self._section.fetch_timeout_seconds)

    def _try(self, release: Release) -> None:
        self._children.start(self._trial(release), timeout_seconds=self._section.trial_timeout_seconds)

    def _shadow(self, release: Release) -> None:
        section = self._section
        if self.tap is None:
            self._take_in(was.Shadowed(frames=0, cosine=None))
            return
        self._children.start_shadow(
            replace(self._trial(release), beside=str(self.artifact.path)),
            self.tap,
            frames=section.shadow_frames,
            timeout_seconds=section.shadow_timeout_seconds,
            duty_ratio=section.shadow_duty_ratio,
        )

    def _trial(self, release: Release) -> TrialJob:
        section, config = self._section, self._config
        return TrialJob(
            artifact=str(self._store.path(release.digest)),
            digest=release.digest,
            max_bytes=config.artifact.max_bytes,
            targets=config.device.targets,
            engine=config.engine.name,
            threads=config.engine.threads,
            memory_max_bytes=section.trial_memory_max_bytes,
            model_max_bytes=config.engine.memory_max_bytes,
            cpu_max_seconds=int(section.trial_timeout_seconds * config.engine.threads) + 1,
        )

    def _collect(self, kept: frozenset[str]) -> None:
        try:
            self._store.collect(kept)
        except StorageError as error:
            _LOG.warning("the store is not cleaned: %s", error)


def check_job(config: AgentConfig, bootstrap: Bootstrap) -> CheckJob:
    """Return the question that a device asks its repository."""
    group, device = config.update.group, config.device
    return CheckJob(
        network=bootstrap.network,
        root=str(bootstrap.root),
        cache=str(bootstrap.folder / "metadata"),
        subjects=(f"device/{device.id}", *([f"group/{group}"] if group else [])),
        device=device.id,
        targets=device.targets,
    )


def _locked(folder: Path) -> IO[bytes] | None:
    """Hold the folder: two agents would remove each other's artifacts. None where it cannot be made, which the first step tells."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("ab")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StorageError(
            f"update.directory: {folder}: another agent uses it.",
            hint="Stop the other agent, or give each agent its own folder.",
        ) from error
    return lock


def _moment() -> was.Moment:
    return was.Moment(now_seconds=monotonic(), wall_seconds=time(), synced=clock_is_synchronized())


def _limits(section: UpdateSection) -> UpdateLimits:
    return UpdateLimits(
        first_check_seconds=section.first_check_seconds,
        check_interval_seconds=section.check_interval_seconds,
        require_synced_clock=section.require_synced_clock,
        trials=section.trial_attempts,
        mismatches=_MISMATCHES,
        shadow=section.shadow_frames > 0,
        shadow_min_cosine=section.shadow_min_cosine,
        probation=ProbationLimits(
            seconds=section.probation_seconds,
            inferences=section.probation_inferences,
            longest_seconds=section.probation_max_seconds,
            p95_ratio=section.probation_p95_ratio,
            error_ratio=section.probation_error_ratio,
            bad_windows=section.probation_bad_windows,
            starts=section.probation_starts,
        ),
    )
