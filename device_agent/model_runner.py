"""`ModelRunner`: the model of one run of the agent. It is verified, loaded, tested and run on the worker's thread, step by step.

While it is hot another artifact may stand in for the declared one, and a split gives a share of the frames to a second one. What a
step gives is reported; nothing is decided here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from device_agent import occurrences
from device_agent.answers import Answers
from device_agent.contract.errors import EdgewrightError
from device_agent.frames import open_source
from device_agent.heat.temperature import declared_rules, in_force
from device_agent.heat.variant import load_stand_in
from device_agent.inference import InferenceLoop, LoopLimits, Meter, Pace
from device_agent.memory_budget import MemoryBudget, MemoryBudgetError
from device_agent.refused_frames import RefusedFrames
from device_agent.startup import load_payload, run_self_test, verify_artifact
from device_agent.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from device_agent.config import AgentConfig, ArtifactSection
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import PayloadTensor
    from device_agent.contract.telemetry.message import Variant
    from device_agent.engines.engine import Engine
    from device_agent.frames import FrameDoor
    from device_agent.results import ResultQueue
    from device_agent.sources.source import Source
    from device_agent.split import SideB
    from device_agent.update.updated_model import UpdatedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs on one side of a split, or all there is.

    Attributes:
        variant: Which side; None when there is no split.
        archive: The artifact; None before it was verified.
        engine: What runs it; None before it was loaded.
        meter: Counts its inferences.
    """

    variant: Variant | None
    archive: ArtifactArchive | None
    engine: Engine | None
    meter: Meter


class ModelRunner:
    """See the module's docstring. The loop's thread calls the public methods.

    Args:
        config: The whole configuration; its artifact is the one to run.
        report: Takes what steps give, on the worker's thread.
        door: Where frames from the broker come in.
        updated: Says which artifact runs, and sees its frames; None: the configured one runs.

    Attributes:
        archive: What runs; None before it was verified.
        engine: What runs it; None before it was loaded.
        meter: Counts inferences.
        refusals: Takes in which frames the source refuses, and why.
        slow_rate_hz: Frames a second while it is hot, as configured or as the artifact declares.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        report: Callable[[occurrences.Occurrence], None],
        door: FrameDoor,
        updated: UpdatedModel | None,
    ) -> None:
        self._config = config
        self._report = report
        self._door = door
        self._updated = updated
        self._worker = Worker(report)
        self._pace = Pace(config.source.rate_hz, self._worker.stopping)
        self._declared: ArtifactArchive | None = None
        self._variant_wanted = self._variant_runs = False
        self._source: Source | None = None
        self._dropped_before = self._refused_before = 0
        self._memory = MemoryBudget(config.engine.memory_max_bytes)
        self._b = _side_b(config, report)
        self.archive: ArtifactArchive | None = None
        self.engine: Engine | None = None
        self.meter = Meter(sketch_every_frames=config.telemetry.input_sample_frames)
        self.refusals = RefusedFrames()
        self.slow_rate_hz = config.heat.slow_rate_hz

    @property
    def has_source(self) -> bool:
        """Whether frames were ever asked for."""
        return self._source is not None or self._dropped_before > 0 or self.inferred > 0

    @property
    def inferred(self) -> int:
        """Frames that were given to an engine, with or without a result."""
        return sum(one.meter.inferences_total + one.meter.errors_total for one in self.sides)

    @property
    def sides(self) -> tuple[Running, ...]:
        """What runs: one, or both sides of a split."""
        own = Running(
            variant=None if self._b is None else "a",
            archive=self.archive,
            engine=self.engine,
            meter=self.meter,
        )
        if self._b is None:
            return (own,)
        b = self._b
        return (own, Running(variant="b", archive=b.archive, engine=b.engine, meter=b.meter))

    @property
    def dropped_frames(self) -> int:
        """Frames that came and were not inferred."""
        source = self._source
        now = 0 if source is None else source.dropped + source.refused
        return self._door.turned_away + self._dropped_before + now

    @property
    def refused_frames(self) -> int:
        """Of those, the ones that were not understood."""
        return self._refused_before + (0 if self._source is None else self._source.refused)

    @property
    def outputs(self) -> Sequence[PayloadTensor]:
        """The payload's outputs, once it was verified."""
        return self._verified().manifest.outputs

    @property
    def model(self) -> tuple[str, str, str] | None:
        """Name, version and target of what runs."""
        if self.archive is None:
            return None
        manifest = self.archive.manifest
        return manifest.name, manifest.version, manifest.target

    def digest_of(self, variant: Variant | None) -> str | None:
        """Return the digest of what runs on one side of a split, or last did."""
        return next(
            (one.archive.digest for one in self.sides if one.variant == variant and one.archive is not None),
            None,
        )

    @property
    def engine_version(self) -> tuple[str, str] | None:
        """Name and version of the engine."""
        engine = self.engine
        return None if engine is None else (engine.name, engine.version)

    def take(self, artifact: ArtifactSection) -> None:
        """Verify this artifact from now on. No step is under way."""
        self._config = replace(self._config, artifact=artifact)

    def verify(self) -> None:
        """Begin to verify the artifact; `ArtifactVerified` follows."""
        self._worker.submit(self._verify)

    def load(self) -> None:
        """Begin to load it, or to load it again; `EngineLoaded` follows."""
        self._worker.submit(self._load)

    def test(self) -> None:
        """Begin its self-test; `SelfTestPassed` follows."""
        self._worker.submit(self._test)

    def infer(self, results: ResultQueue | None, results_of_b: ResultQueue | None = None) -> None:
        """Begin to infer; `SourceEnded` follows when there is nothing more to infer.

        Args:
            results: Where outputs go; None: nowhere.
            results_of_b: Where those of side `b` of a split go.
        """
        self._worker.submit(partial(self._infer, results, results_of_b))

    def leave(self) -> None:
        """Leave the inference loop; `InferenceLeft` follows."""
        self._worker.interrupt()
        self._worker.submit(occurrences.InferenceLeft)

    def hold(self, rate_hz: float | None, *, paused: bool, variant: bool) -> None:
        """Take in what heat asks for.

        Args:
            rate_hz: Frames a second at most; None: as configured.
            paused: Infer nothing.
            variant: Run the variant; `ModelSwitched` or `SwitchFailed` follows where that is new.
        """
        self._pace.hold(rate_hz, paused=paused)
        if variant != self._variant_wanted:
            self._variant_wanted = variant
            self._pace.leave()

    def stop(self) -> None:
        """Leave what can be left and begin nothing more; `WorkerStopped` follows."""
        self._worker.stop()

    def close(self, timeout_seconds: float) -> bool:
        """Stop, and free source and engine; return False when the worker does not come back, which then keeps them."""
        self._worker.stop()
        if not self._worker.join(timeout_seconds):
            return False
        for held in (self._source, self.engine, None if self._b is None else self._b.engine):
            if held is not None:
                held.close()
        return True

    # --- steps, on the worker's thread ---

    def _verify(self) -> occurrences.Occurrence:
        archive, before = verify_artifact(self._config), self.archive
        self.archive = self._declared = archive
        if self._source is not None and before is not None and before.digest != archive.digest:
            self._give_back(self._source)  # it prepares frames for the inputs of the one before
        manifest = archive.manifest
        unchecked = ""
        if not self._config.device.targets:
            unchecked = "device.targets is not set, so whether this is the right target was not checked."
        heat = in_force(self._config.heat, manifest.heat)
        self.slow_rate_hz = heat.slow_rate_hz
        return occurrences.ArtifactVerified(
            digest=archive.digest,
            name=manifest.name,
            version=manifest.version,
            target=manifest.target,
            verdict=manifest.verdict,
            unchecked=unchecked,
            heat=None if heat is self._config.heat else declared_rules(heat),
        )

    def _load(self) -> occurrences.Occurrence:
        self._unload()  # restarted: two at a time may be more than the memory holds
        self._memory.begin()
        with self._within_budget():
            engine, seconds = load_payload(self._verified(), threads=self._config.engine.threads)
            self.engine = self._seen_by_updates(engine, variant=self._variant_runs)
        return occurrences.EngineLoaded(engine=engine.name, engine_version=engine.version, seconds=seconds)

    def _test(self) -> occurrences.Occurrence:
        with self._within_budget():
            tested = run_self_test(self._verified(), self._loaded())
        return occurrences.SelfTestPassed(
            samples=tested.samples,
            largest_lsb=tested.largest_lsb,
            smallest_equal_share=tested.smallest_equal_share,
        )

    @contextmanager
    def _within_budget(self) -> Iterator[None]:
        try:
            with self._memory.spending():
                yield
        except MemoryBudgetError:
            self._unload()
            raise

    def _unload(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()
        if self._b is not None:
            self._b.unload()

    def _infer(
        self, results: ResultQueue | None, results_of_b: ResultQueue | None
    ) -> occurrences.Occurrence | None:
        if self._source is None:
            archive = self._verified()
            self._source = open_source(
                self._config.source,
                archive,
                door=self._door,
                on_refused=self.refusals,
                describe=Answers(archive.manifest.outputs, self._config.results),
            )
        try:
            ended = self._infer_from(self._source, results, results_of_b)
            while not ended and not self._worker.stopping.is_set():
                self._switch()
                ended = self._infer_from(self._source, results, results_of_b)
        except Exception:
            self._give_back(self._source)
            raise
        return occurrences.SourceEnded(ended) if ended else None

    def _give_back(self, source: Source) -> None:
        """Close a source from which nothing is taken any more: who waits there is told, and it can be opened again."""
        self._door.shut()
        source.close()
        self._source = None
        self._dropped_before += source.dropped + source.refused
        self._refused_before += source.refused

    def _infer_from(
        self, source: Source, results: ResultQueue | None, results_of_b: ResultQueue | None
    ) -> str:
        most, taken = self._config.source.max_frames, self.inferred
        if most and taken >= most:  # left at the very last frame
            return f"{taken} frames were inferred, as source.max_frames says"
        engine, split = self._loaded(), None
        if self._b is not None:
            own = (engine, self.meter, results)
            split = self._b.beside(*own, results_of_b=results_of_b, like=self._verified().manifest)
        for side in self.sides:
            if side.archive is not None and side.engine is not None:
                # The null engine is there to show what everything else costs.
                looked_at = () if side.engine.name == "null" else side.archive.manifest.inputs
                side.meter.begin(looked_at)
        return InferenceLoop(
            engine=engine,
            source=source,
            meter=self.meter,
            results=results,
            limits=LoopLimits(
                rate_hz=self._config.source.rate_hz,
                max_frames=most - taken if most else 0,
                max_consecutive_errors=self._config.engine.max_consecutive_errors,
            ),
            stopping=self._worker.stopping,
            pace=self._pace,
            split=split,
        ).run()

    def _switch(self) -> None:
        """Run the variant, or the declared artifact again; what cannot be loaded leaves the one that runs."""
        wanted, declared = self._variant_wanted, self._declared
        if wanted == self._variant_runs or declared is None:
            return
        path, digest = self._variant() if wanted else self._active(declared)
        try:
            archive, engine = load_stand_in(
                self._config,
                path,
                digest,
                like=declared.manifest,
                # What ran before has shown that it fits; going back to it must not hang on what others take just now.
                memory_max_bytes=self._config.engine.memory_max_bytes if wanted else 0,
            )
        except EdgewrightError as error:
            self._report(occurrences.SwitchFailed(str(error)))
            return
        self._loaded().close()
        self.engine = self._seen_by_updates(engine, variant=wanted)
        self.archive, self._variant_runs = archive, wanted
        manifest = archive.manifest
        self._report(
            occurrences.ModelSwitched(
                digest=archive.digest, name=manifest.name, version=manifest.version, is_variant=wanted
            )
        )

    def _variant(self) -> tuple[Path, str | None]:
        heat = self._config.heat
        if heat.variant_path is None:
            raise RuntimeError("a variant is wanted and none is configured")
        return heat.variant_path, heat.variant_digest

    def _active(self, declared: ArtifactArchive) -> tuple[Path, str]:
        """Return what runs when it is not hot; with updates they say which, and where it is kept."""
        if self._updated is None:
            return declared.path, declared.digest
        active = self._updated.artifact
        return active.path, active.digest or declared.digest

    def _seen_by_updates(self, engine: Engine, *, variant: bool) -> Engine:
        """Let a shadow run see the frames of what updates are about, which the variant is not."""
        return engine if self._updated is None or variant else self._updated.tapped(engine)

    def _verified(self) -> ArtifactArchive:
        if self.archive is None:
            raise RuntimeError("no artifact was verified before this step")
        return self.archive

    def _loaded(self) -> Engine:
        if self.engine is None:
            raise RuntimeError("no engine was loaded before this step")
        return self.engine


def _side_b(config: AgentConfig, report: Callable[[occurrences.Occurrence], None]) -> SideB | None:
    if config.split.path is None:
        return None
    from device_agent.split import SideB  # noqa: PLC0415  who splits nothing pays for nothing

    return SideB(config, report)
