"""`AskedBeside`: asks what gates find in a thread of its own, so that no round of the server waits for telemetry that hangs.

A round is told what was found last. Where nothing has come for too long that is that telemetry cannot be asked, and no stage passes on
what is old.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import StoreError
from host_tools.fleet.rollout.stage_end import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.fleet.outside import Findings
    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout

_LOG: Final = logging.getLogger("edgewright.fleet")
_FORGET_SECONDS: Final = 3_600.0
_END_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What is known of one rollout: when it was last asked for and answered, and the answer; None: there is none yet."""

    asked_seconds: float
    answered_seconds: float
    answer: Sequence[GateFinding] | EdgewrightError | None = None


class AskedBeside:
    """`Findings` that answer at once.

    Args:
        findings: What is asked, by one thread only; it keeps what it found for as long as that holds.
        longest_seconds: For so long what was found last is told while no newer answer comes.
        seconds: A clock that never goes back.
    """

    def __init__(
        self, findings: Findings, *, longest_seconds: float = 30.0, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._findings = findings
        self._longest = longest_seconds
        self._seconds = seconds
        self._told: dict[str, _Told] = {}
        self._questions: dict[str, tuple[Rollout, Release, float]] = {}
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._answer_all, name="fleet gates", daemon=True)
        self._thread.start()

    def __call__(self, rollout: Rollout, release: Release, now_seconds: float) -> Sequence[GateFinding]:
        """Return what was found last, and let it be asked anew.

        Raises:
            StoreError: Telemetry could not be asked, or has not answered for too long.
        """
        name, now = rollout.plan.id, self._seconds()
        with self._changed:
            if name not in self._told:
                self._told = {one: told for one, told in self._told.items() if not _is_old(told, now)}
            told = self._told.get(name, _Told(asked_seconds=now, answered_seconds=now))
            self._told[name] = replace(told, asked_seconds=now)
            self._questions[name] = (rollout, release, now_seconds)
            self._changed.notify()
        if now - told.answered_seconds > self._longest:
            raise StoreError(
                f"it has not answered within {self._longest:g} s.",
                hint="Does it hang, or is it busy? Stages wait until it answers; orders are carried out.",
            )
        if isinstance(told.answer, EdgewrightError):
            raise StoreError(str(told.answer.args[0]), hint=told.answer.hint) from told.answer
        return (
            unavailable(rollout.plan.gates, "it has not answered yet.")
            if told.answer is None
            else told.answer
        )

    def close(self) -> bool:
        """Ask no more; return whether the last question has ended, else what is asked must stay open."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join(_END_SECONDS)
        return not self._thread.is_alive()

    def _answer_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ends or self._questions)
                if self._ends:
                    return
                name = next(iter(self._questions))
                question = self._questions.pop(name)
            answer = self._answer(*question)
            with self._changed:
                self._told[name] = replace(self._told[name], answered_seconds=self._seconds(), answer=answer)

    def _answer(
        self, rollout: Rollout, release: Release, now_seconds: float
    ) -> Sequence[GateFinding] | EdgewrightError:
        try:
            return self._findings(rollout, release, now_seconds)
        except EdgewrightError as error:
            return error
        # A defect must not end the thread: no gate would ever be looked at again.
        except Exception:  # noqa: BLE001
            _LOG.exception(
                "the gates of rollout %s cannot be looked at: a defect of the server", rollout.plan.id
            )
            return StoreError("a defect of the server; its log says which.")


def _is_old(told: _Told, now: float) -> bool:
    return now - told.asked_seconds > _FORGET_SECONDS
