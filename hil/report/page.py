"""`render_page`: the results of one session as one self-contained HTML page."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from host_tools.pages.charts import Series, line_chart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from hil.plugin.record import SessionRecord, TestLine

_ORDER = ("failed", "error", "skipped", "passed")
_CHIPS = {"passed": "pass", "skipped": "marginal", "failed": "fail", "error": "fail"}
_LABELS = {
    "artifact_digest": "artifact's digest",
    "artifact_made_with": "artifact made with",
    "power_cut_takes": "a power cut takes",
    "sensors": "sensors are",
}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader(
            [PackageLoader("hil.report", "templates"), PackageLoader("host_tools.pages", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(session: SessionRecord) -> str:
    """Return the page; every value is escaped."""
    tests = list(session.tests.values())
    counts = Counter(test.outcome for test in tests)
    shown = [_test(test, f"test-{place}") for place, test in enumerate(tests)]
    return (
        _environment()
        .get_template("rig_report.html")
        .render(
            title=f"Hardware in the loop: {session.facts.get('rig', 'no rig')}",
            counts=[(outcome, counts[outcome], _CHIPS[outcome]) for outcome in _ORDER if counts[outcome]],
            seconds=sum(test.seconds for test in tests),
            broken=_no_use(session, "the rig is broken", session.broken),
            down=_no_use(session, "the board is down", session.down),
            facts=[
                (_LABELS.get(name, name.replace("_", " ")), value) for name, value in session.facts.items()
            ],
            measurements=[row for test in tests for row in _measurements(test)],
            tests=shown,
            bad=[one for one in shown if one["chip"] == "fail"],
            subject=_subject(session.facts),
        )
    )


def _no_use(session: SessionRecord, reason: str, first: tuple[str, str] | tuple[()]) -> str:
    """Return why tests were skipped: what a worker of pytest-xdist met is known here by that alone."""
    skips = [test.reason for test in session.tests.values() if test.reason.startswith(reason)]
    return skips[0] if skips else ": ".join(first)


def _measurements(test: TestLine) -> list[dict[str, Any]]:
    return [
        {
            "test": "" if index else short_name(test.name),
            "name": one["name"],
            "value": _figure(one["value"]),
            "unit": "" if one["unit"] == "1" else one["unit"],
            "limits": one["limits"],
            "verdict": one["verdict"],
            "note": one["note"],
        }
        for index, one in enumerate(test.document.get("measurements", ()))
    ]


def _figure(value: float | str) -> str:
    """Return a number with four digits, or with all before the point; what is not finite is a text already."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 10_000.0 else f"{value:.4g}"


def _subject(facts: Mapping[str, str]) -> str:
    """Return in one line what was tested, where; the table at the page's end has the rest."""
    artifact = f"{facts['artifact']} for {facts['artifact_target']}" if "artifact" in facts else ""
    return ", ".join(one for one in (artifact, facts.get("rig_description", "")) if one)


def _test(test: TestLine, anchor: str) -> dict[str, Any]:
    return {
        "anchor": anchor,
        "name": short_name(test.name),
        "id": test.name,
        "outcome": test.outcome,
        "chip": _CHIPS[test.outcome],
        "seconds": test.seconds,
        "reason": test.reason,
        "charts": [_chart(one) for one in test.document.get("series", ())],
        "logs": test.document.get("logs", ()),
    }


def short_name(nodeid: str) -> str:
    """Return a test's name as a sentence: without its file, ``test_`` and underscores."""
    name = nodeid.rpartition("::")[2].removeprefix("test_")
    head, bracket, parameters = name.partition("[")
    return head.replace("_", " ") + bracket + parameters


def _chart(series: Mapping[str, Any]) -> Markup:
    lines = [
        Series(
            label=line["label"],
            x=line["x"],
            y=[math.nan if value is None else value for value in line["y"]],
        )
        for line in series["lines"]
    ]
    return line_chart(lines, title=series["title"], x_label="seconds", y_label=series["unit"], markers=True)
