"""`WayIn`: how what is wanted becomes active: weighed, fetched, tried, run beside the current release. One at a time.

Each method says what is to be done and how far the release is then; what becomes of that is `machine`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from device_agent.update import notices, transitions
from device_agent.update.effects import Collect, Fetch, Shadow, Tell, Try
from device_agent.update.state import BELOW_FLOOR

if TYPE_CHECKING:
    from device_agent.update.book import Book
    from device_agent.update.effects import Effect
    from device_agent.update.limits import UpdateLimits
    from device_agent.update.occurrences import FetchFailed, NothingDesired, Offered, Shadowed, Tried, Unmet
    from device_agent.update.proving import Shown

Progress = Literal["over", "fetching", "trying", "shadowing", "turning"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done now.

    Attributes:
        effects: In order.
        progress: How far the release is then. ``turning``: something else is active now. ``over``: nothing is on its way, or it waits
            for another attempt.
        trouble: Code and message of what is in its way; None when nothing is.
    """

    effects: tuple[Effect, ...]
    progress: Progress = "over"
    trouble: tuple[str, str] | None = None


class WayIn:
    """See the module's docstring.

    Args:
        book: The durable state.
        limits: Bounds.

    Attributes:
        model: Whose release is on its way; empty before the first.
    """

    def __init__(self, book: Book, limits: UpdateLimits) -> None:
        self._book = book
        self._limits = limits
        self._unmet: dict[str, str] = {}
        self.model = ""

    def lacks_delivered(self, offer: Offered) -> bool:
        """Whether what a model was delivered with has to be in the store first, so that there is something to go back to."""
        standing = self._book.of(offer.model)
        return standing.active is None and not standing.has_rejected(
            offer.release.digest, offer.since, allow_downgrade=offer.allow_downgrade
        )

    def weigh(self, offer: Offered) -> Step:
        """Decide whether a release that is wanted is to be fetched. The model has something to go back to."""
        book, release = self._book, offer.release
        self.model = offer.model
        self._unmet.pop(self.model, None)
        before = book.of(self.model)
        book.state = transitions.followed(
            book.state,
            self.model,
            serial=offer.serial,
            digest=release.digest,
            is_in_trial=offer.is_in_trial,
        )
        runs = before.active is not None and release.digest == before.active.digest
        if runs or before.has_rejected(release.digest, offer.since, allow_downgrade=offer.allow_downgrade):
            return Step(self.withdraw(self.model))
        told = (
            ()
            if before.candidate is None or before.candidate.release == release
            else self.withdraw(self.model)
        )
        book.put(self.model, transitions.offered(book.of(self.model), offer))
        candidate = book.of(self.model).candidate
        if candidate is None:
            return Step(told)
        if before.is_way_back(release) and not offer.allow_downgrade:
            below = f"release counter {release.counter} is below {before.counter_floor}, which ran here"
            return self._rejected(f"{BELOW_FLOOR}: {below}", told)
        if candidate.trials >= self._limits.trials:
            return self._rejected(f"crash_loop: {candidate.trials} trials did not come to their end", told)
        if candidate != before.candidate:
            told = (*told, *book.note(notices.started(candidate, self.model)))
        return Step((*book.write(), *told, Collect(book.state.kept), Fetch(candidate)), "fetching")

    def want_nothing(self, answer: NothingDesired) -> Step:
        """Nobody says what a model shall be: it stays, unless it came by a trial that was taken back, with nothing before it."""
        book, model = self._book, answer.model
        self.model = model
        self._unmet.pop(model, None)
        if not answer.serial:
            return Step(())
        before = book.of(model)
        book.state = transitions.followed(
            book.state, model, serial=answer.serial, digest="", is_in_trial=False
        )
        told = self.withdraw(model)
        if not before.runs_trial or before.active is None:
            return Step(told)
        book.put(model, transitions.undelivered(book.of(model)))
        told = (*told, *book.note(notices.taken_back(before.active, answer.serial, model)))
        return Step((*told, Collect(book.state.kept)), "turning")

    def unmet(self, answer: Unmet) -> Step:
        """What is wanted of a model cannot be had: tell it once."""
        if self._unmet.get(answer.model) == answer.code:
            return Step(())
        self._unmet[answer.model] = answer.code
        return Step((Tell(notices.postponed(answer.code, answer.message, answer.model)),))

    def forget(self, model: str) -> tuple[Effect, ...]:
        """Let go of what belongs to a model that is not updated any more; its floor stays."""
        book, told = self._book, self.withdraw(model)
        before = book.of(model)
        book.put(model, transitions.undelivered(before))
        if before.active is None or before.probation is None:
            return (*told, *book.write())
        return (*told, *book.note(notices.forgotten(before.active, before.probation.serial, model)))

    def withdraw(self, model: str) -> tuple[Effect, ...]:
        """Let go of a candidate that is not asked for any more: its update ends here."""
        book = self._book
        candidate = book.of(model).candidate
        if candidate is None:
            return ()
        book.put(model, transitions.withdrawn(book.of(model)))
        return (*book.note(notices.withdrawn(candidate, model)), Collect(book.state.kept))

    def fetch_failed(self, failure: FetchFailed) -> Step:
        """It is not there: fetch it again later, unless it came with wrong bytes too often."""
        trouble = (failure.code, failure.message)
        if not failure.mismatch:
            return Step((), trouble=trouble)
        self._book.put(self.model, transitions.mismatch_counted(self._book.of(self.model)))
        candidate = self._book.of(self.model).candidate
        if candidate is None or candidate.mismatches >= self._limits.mismatches:
            return self._rejected(f"{failure.code}: {failure.message}")
        return Step(self._book.write(), trouble=trouble)

    def fetched(self) -> Step:
        """It is there: try it, which is counted before."""
        self._book.put(self.model, transitions.trial_counted(self._book.of(self.model)))
        candidate = self._book.of(self.model).candidate
        if candidate is None:
            return Step(())
        return Step((*self._book.write(), Try(candidate.release, self.model)), "trying")

    def tried(self, tried: Tried, shown: Shown) -> Step:
        """It loads and computes rightly: let it run beside the current one."""
        standing = self._book.of(self.model)
        candidate = standing.candidate
        if candidate is None:
            return Step(())
        told = self._book.note(notices.tried(candidate, tried, self.model))
        # On the way back the model that runs is the one that is not wanted: to disagree with it is no fault.
        if not self._limits.shadow or standing.is_way_back(candidate.release):
            return self._activated(None, shown, told)
        return Step((*told, Shadow(candidate.release, self.model)), "shadowing")

    def shadowed(self, shadowed: Shadowed, shown: Shown) -> Step:
        """It ran beside the current one: activate it, unless they disagree."""
        cosine, least = shadowed.cosine, self._limits.shadow_min_cosine
        if shadowed.frames and cosine is not None and not cosine >= least:
            return self._rejected(
                f"shadow_disagrees: over {shadowed.frames} frames the outputs' mean cosine is {cosine:.4f}; "
                f"{least:g} is asked for"
            )
        return self._activated(shadowed, shown)

    def failed(self, code: str, message: str) -> Step:
        """Its trial or shadow run failed."""
        return self._rejected(f"{code}: {message}")

    def unbegun(self, message: str) -> Step:
        """There was no process for its trial or shadow run: try it again later, as if it had not been counted."""
        self._book.put(self.model, transitions.trial_uncounted(self._book.of(self.model)))
        return Step(self._book.write(), trouble=("child", message))

    def _activated(self, shadowed: Shadowed | None, shown: Shown, told: tuple[Effect, ...] = ()) -> Step:
        standing = self._book.of(self.model)
        candidate = standing.candidate
        if candidate is None:
            return Step(told)
        is_way_back = standing.is_way_back(candidate.release)
        active = transitions.activated(
            standing,
            baseline_p95_seconds=None if is_way_back else shown.p95_seconds,
            baseline_hot=shown.was_hot,
        )
        self._book.put(self.model, active)
        return Step((*told, *self._book.note(notices.activated(candidate, shadowed, self.model))), "turning")

    def _rejected(self, fault: str, told: tuple[Effect, ...] = ()) -> Step:
        candidate = self._book.of(self.model).candidate
        if candidate is None:
            return Step(told)
        self._book.put(self.model, transitions.rejected(self._book.of(self.model), fault))
        ended = self._book.note(notices.rejected(candidate, fault, self.model))
        return Step((*told, *ended, Collect(self._book.state.kept)))
