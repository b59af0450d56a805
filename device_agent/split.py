"""An A/B split: which side infers a frame, and side `b` itself. The same seed, share and frame id is always the same side.

Both sides take frames of one source on one thread, one after another, so that neither disturbs the other's latency.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError, EngineError
from device_agent.heat.variant import load_stand_in
from device_agent.inference import Meter
from device_agent.occurrences import VariantFailed, VariantStarted
from device_agent.results import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import Manifest
    from device_agent.contract.telemetry.message import Variant
    from device_agent.engines.engine import Engine
    from device_agent.occurrences import Occurrence
    from device_agent.results import ResultQueue

_BYTES: Final = 8


class Assignment:
    """Says which side a frame goes to, by a keyed hash of its id: no state, so a restart changes nothing.

    Args:
        ratio: Share of all ids that go to `b`, 0 to 1.
        seed: Another one chooses others.
    """

    __slots__ = ("_below", "_key")

    def __init__(self, *, ratio: float, seed: str) -> None:
        self._key = blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._below = round(ratio * (1 << 8 * _BYTES))

    def variant_of(self, frame: str) -> Variant:
        """Return the side of the frame with this id."""
        hashed = blake2b(frame.encode("utf-8", "surrogatepass"), digest_size=_BYTES, key=self._key).digest()
        return "b" if int.from_bytes(hashed, "big") < self._below else "a"


class Side:
    """What infers a frame and counts it. The inference loop reads it once a frame.

    Args:
        engine: Loaded and tested.
        meter: Counts.
        results: Where outputs go; None: nowhere.

    Attributes:
        failures: Inferences that failed in a row.
    """

    __slots__ = ("failures", "infer", "meter", "results")

    def __init__(self, engine: Engine, meter: Meter, results: ResultQueue | None) -> None:
        self.infer = engine.infer
        self.meter = meter
        self.results = results or NOWHERE
        self.failures = 0

    def inferred(self, duration_ns: int) -> None:
        """Count one inference."""
        self.failures = 0
        self.meter.inferred(duration_ns)


class Split:
    """Gives every frame its side, while both are there.

    Args:
        a: The model's own artifact.
        b: The one beside it.
        assignment: Says which.
        max_consecutive_errors: After so many failures in a row a side is given up.
        give_up_b: Called once when it is `b`, with the reason; `a` then infers every frame.
    """

    def __init__(
        self,
        a: Side,
        b: Side,
        *,
        assignment: Assignment,
        max_consecutive_errors: int,
        give_up_b: Callable[[str], None],
    ) -> None:
        self._a = a
        self._b: Side | None = b
        self._meters = (a.meter, b.meter)
        self._assignment = assignment
        self._most = max_consecutive_errors
        self._give_up_b = give_up_b

    @property
    def inferences_total(self) -> int:
        """Inferences of both sides since the start."""
        return sum(meter.inferences_total for meter in self._meters)

    def side_of(self, frame: str) -> Side:
        """Return the side that infers the frame with this id."""
        if self._b is not None and self._assignment.variant_of(frame) == "b":
            return self._b
        return self._a

    def failed(self, frame: str, error: EngineError) -> None:
        """Count a failure of the side that the frame with this id went to.

        Raises:
            EngineError: `a` has failed too often in a row: the model cannot go on.
        """
        side = self.side_of(frame)
        side.meter.failed(str(error))
        side.failures += 1
        if side.failures < self._most:
            return
        message = f"{side.failures} inferences failed in a row, the last one with: {error}"
        if side is self._a:
            raise EngineError(message) from error
        self._b = None
        self._give_up_b(message)


class SideB:
    """The artifact beside a model's own: loaded when inference begins, given up when it fails. Called on the worker's thread.

    Args:
        config: Of the model.
        report: Takes `VariantStarted` and `VariantFailed`.

    Attributes:
        archive: What runs, or last did; None before it was loaded.
        engine: What runs it; None also after it was given up.
        meter: Counts its inferences, over all loads.
    """

    def __init__(self, config: AgentConfig, report: Callable[[Occurrence], None]) -> None:
        self._config = config
        self._report = report
        self._given_up = False
        self.archive: ArtifactArchive | None = None
        self.engine: Engine | None = None
        self.meter = Meter(sketch_every_frames=config.telemetry.input_sample_frames)

    def beside(
        self,
        own: Engine,
        meter: Meter,
        results: ResultQueue | None,
        *,
        results_of_b: ResultQueue | None,
        like: Manifest,
    ) -> Split | None:
        """Return the split of the frames; None when `b` cannot be had, and `a` infers them all.

        Args:
            own: Engine of `a`.
            meter: Counts its inferences.
            results: Where its outputs go.
            results_of_b: Where those of `b` go.
            like: Manifest of `a`, whose inputs and outputs `b` must have.
        """
        engine = self.engine or self._loaded(like)
        if engine is None:
            return None
        wanted = self._config.split
        return Split(
            Side(own, meter, results),
            Side(engine, self.meter, results_of_b),
            assignment=Assignment(ratio=wanted.ratio, seed=wanted.seed),
            max_consecutive_errors=self._config.engine.max_consecutive_errors,
            give_up_b=self._give_up,
        )

    def unload(self) -> None:
        """Free the engine; it is loaded again when inference begins."""
        engine, self.engine = self.engine, None
        self._given_up = False
        if engine is not None:
            engine.close()

    def _loaded(self, like: Manifest) -> Engine | None:
        path = self._config.split.path
        if path is None or self._given_up:
            return None
        try:
            archive, engine = load_stand_in(
                self._config,
                path,
                self._config.split.digest,
                like=like,
                memory_max_bytes=self._config.engine.memory_max_bytes,
            )
        except EdgewrightError as error:
            self._give_up(str(error))
            return None
        self.archive, self.engine = archive, engine
        manifest = archive.manifest
        self._report(
            VariantStarted(
                digest=archive.digest,
                name=manifest.name,
                version=manifest.version,
                engine=engine.name,
                engine_version=engine.version,
            )
        )
        return engine

    def _give_up(self, reason: str) -> None:
        self.unload()
        self._given_up = True
        self._report(VariantFailed(reason))
