"""`Proving`: what each model runs in this process, and whether a release on probation has proved itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.update import notices, transitions
from device_agent.update.effects import Collect
from device_agent.update.probation import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.update.book import Book
    from device_agent.update.effects import Effect
    from device_agent.update.occurrences import Observed
    from device_agent.update.probation import ProbationLimits
    from device_agent.update.state import Release


class Shown:
    """What one model runs, and what that has shown of itself.

    Args:
        limits: What a release on probation must show.

    Attributes:
        running: What the model was begun with; None: the delivered artifact, where it lies.
        evidence: What that has shown; None when it is not on probation.
        p95_seconds: Of the last window in which a release that is known to be good inferred; None before one.
    """

    def __init__(self, limits: ProbationLimits) -> None:
        self._limits = limits
        self._windows_since_heat = float("inf")
        self.running: Release | None = None
        self.evidence: Evidence | None = None
        self.p95_seconds: float | None = None

    @property
    def was_hot(self) -> bool:
        """Whether the device was too hot in one of the last windows of a release that is known to be good."""
        return self._windows_since_heat < self._limits.bad_windows

    def observe(self, window: Observed) -> str:
        """Take in a window; return why the release must go, empty when it may stay."""
        if self.evidence is not None:
            return self.evidence.add(window)
        self.p95_seconds = window.p95_seconds or self.p95_seconds
        self._windows_since_heat = 0.0 if window.heat else self._windows_since_heat + 1.0
        return ""


class Proving:
    """See the module's docstring. No clock: who calls says what time it is.

    Args:
        book: The durable state.
        limits: What a release on probation must show.
        models: Those that are updated.

    Attributes:
        shown: Of each of them.
    """

    def __init__(self, book: Book, limits: ProbationLimits, models: Sequence[str]) -> None:
        self._book = book
        self._limits = limits
        self.shown = {name: Shown(limits) for name in models}

    @property
    def on_probation(self) -> tuple[str, Evidence] | None:
        """The model whose release is on probation and runs, and what it has shown; there is one at most."""
        for name, one in self.shown.items():
            if one.evidence is not None:
                return name, one.evidence
        return None

    def run(self, model: str, release: Release | None, now_seconds: float) -> None:
        """A model begins with a release; None: with the delivered artifact, where it lies."""
        self.shown[model].running = release
        self.begin(model, now_seconds)

    def begin(self, model: str, now_seconds: float) -> None:
        """Look for evidence from now on, if what runs has not proved itself."""
        shown, standing = self.shown[model], self._book.of(model)
        shown.evidence = None
        probation = standing.probation
        if probation is not None and shown.running == standing.active:
            shown.evidence = Evidence(
                self._limits,
                since_seconds=now_seconds,
                baseline_p95_seconds=probation.baseline_p95_seconds,
                baseline_hot=probation.baseline_hot,
            )

    def runs_another(self, model: str) -> bool:
        """Whether a model runs something else than what is active."""
        running, active = self.shown[model].running, self._book.of(model).active
        if running is None and active is not None and not active.counter:
            return False  # the delivered artifact, where it lies
        return running != active

    def count_start(self, model: str) -> tuple[Effect, ...]:
        """Write down that a release on probation is begun, before it is; one that was begun too often is taken back instead."""
        probation = self._book.of(model).probation
        if probation is None:
            return ()
        if probation.attempts >= self._limits.starts:
            return self.roll_back(
                model, f"crash_loop: {probation.attempts} starts did not live through the probation"
            )
        self._book.put(model, transitions.start_counted(self._book.of(model), +1))
        return self._book.write()

    def spare_starts(self) -> None:
        """The process ends in order: that is not held against what is on probation."""
        for name, one in self.shown.items():
            if one.evidence is not None:
                one.evidence = None
                self._book.put(name, transitions.start_counted(self._book.of(name), -1))

    def commit(self, model: str, inferences: int) -> tuple[Effect, ...]:
        """What a model runs has proved itself."""
        standing = self._book.of(model)
        if standing.active is None or standing.probation is None:
            return ()
        self.shown[model].evidence = None
        self._book.put(model, transitions.committed(standing))
        told = self._book.note(notices.committed(standing.active, standing.probation, inferences, model))
        return (*told, Collect(self._book.state.kept))

    def roll_back(self, model: str, fault: str) -> tuple[Effect, ...]:
        """What a model has on probation is not wanted any more."""
        standing = self._book.of(model)
        if standing.active is None or standing.known_good is None or standing.probation is None:
            return ()
        self.shown[model].evidence = None
        self._book.put(model, transitions.rolled_back(standing, fault))
        notice = notices.rolled_back(standing.active, standing.known_good, fault, standing.probation, model)
        return self._book.note(notice)
