"""What a test leaves behind, as plain JSON: it travels on pytest's reports, so that pytest-xdist's workers hand it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.errors import BootError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.errors import RigError
    from hil.measurement import Measurement

RESULTS_VERSION = "1.1"
"""Of the JSON of ``--rig-results``."""
KEPT_CHARACTERS = 60_000
"""Of a log; its end is kept."""


@dataclass(slots=True)
class TestRecord:
    """Of one test.

    Attributes:
        measurements: In order.
        series: Curves to draw: title, unit, and lines of label, x and y; x in seconds.
        logs: Title and text.
    """

    __test__ = False

    measurements: list[Measurement] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)
    logs: list[tuple[str, str]] = field(default_factory=list)

    def add_series(
        self, title: str, *, unit: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float]]]
    ) -> None:
        """Keep curves for the page: label, seconds and values of each."""
        drawn = [{"label": label, "x": list(x), "y": list(y)} for label, x, y in lines]
        self.series.append({"title": title, "unit": unit, "lines": drawn})

    def add_log(self, title: str, text: str) -> None:
        """Keep a log for the page."""
        self.logs.append((title, text[-KEPT_CHARACTERS:]))

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "measurements": [one.document() for one in self.measurements],
            "series": self.series,
            "logs": self.logs,
        }


@dataclass(slots=True)
class TestLine:
    """One test on the page."""

    __test__ = False

    name: str
    outcome: str
    seconds: float
    reason: str
    document: dict[str, Any]


@dataclass(slots=True)
class SessionRecord:
    """Of the whole session.

    Attributes:
        facts: What was tested, with what, where: name and value.
        tests: One a test, in order.
        broken: Test id and message of the rig's first failure; empty while it is whole.
        down: The same where it was the board that did not come up; one of the two is empty.
    """

    facts: dict[str, str] = field(default_factory=dict)
    tests: dict[str, TestLine] = field(default_factory=dict)
    broken: tuple[str, str] | tuple[()] = ()
    down: tuple[str, str] | tuple[()] = ()

    def note(self, test: str, failure: RigError | BootError) -> None:
        """Keep what a test met, unless there is something that came before."""
        if self.broken or self.down:
            return
        if isinstance(failure, BootError):
            self.down = (test, str(failure))
        else:
            self.broken = (test, str(failure))

    @property
    def no_use(self) -> str:
        """Why nothing more can be tested on the rig; empty while it can."""
        if self.down:
            return f"the board is down since {': '.join(self.down)}"
        return f"the rig is broken since {': '.join(self.broken)}" if self.broken else ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it: facts, what broke, and of every test outcome, reason and measurements."""
        return {
            "schema_version": RESULTS_VERSION,
            "facts": self.facts,
            "broken": list(self.broken),
            "down": list(self.down),
            "tests": [
                {
                    "name": test.name,
                    "outcome": test.outcome,
                    "seconds": round(test.seconds, 3),
                    "reason": test.reason,
                    "measurements": test.document.get("measurements", []),
                }
                for test in self.tests.values()
            ],
        }
