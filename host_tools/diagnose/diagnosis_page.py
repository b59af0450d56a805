"""The part of `report.html` that diagnoses: chart, panel and tables, drawn by a script from data in the page itself."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from markupsafe import Markup

from host_tools.diagnose.suggestion import suggestion_of
from host_tools.pages.page import render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from host_tools.diagnose.diagnosis import Diagnosis


def render_diagnosis(diagnoses: Iterable[Diagnosis]) -> Markup | None:
    """Return the part as HTML; None where there is nothing to show."""
    targets = [
        {**dataclasses.asdict(one), "suggestion": dataclasses.asdict(suggestion_of(one))} for one in diagnoses
    ]
    if not targets:
        return None
    # Nothing in the data can end the script element that holds it.
    text = json.dumps(targets, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    return Markup(render("diagnosis.html", data=Markup(text)))  # noqa: S704 - escaped by the template and above
