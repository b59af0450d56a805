"""The one thing to try next, as a sentence and a recipe to paste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.diagnose.remedies import toml_text

if TYPE_CHECKING:
    from host_tools.diagnose.diagnosis import Diagnosis, FloatRung, Remedy

_WORTH_A_LAYER_DB = 0.5
_WORTH_DB = 0.3
_FINE_DB = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What to try: a sentence, and lines of a recipe, empty where none helps."""

    text: str
    recipe: str


def suggestion_of(diagnosis: Diagnosis) -> Suggestion:
    """Return the cheapest change that buys much, by what was tried."""
    before = diagnosis.output_sqnr_db
    if before is None or before >= _FINE_DB:
        return Suggestion(
            text="Nothing: the outputs are within a few hundredths of the float model's.", recipe=""
        )
    rung = _best_rung(diagnosis, before)
    single = _best_single(diagnosis)
    if rung is not None and (single is None or _risen(rung, before) >= (single.gain_db or 0.0)):
        nodes = "".join(f"  {toml_text(name)},\n" for name in rung.layers)
        counted = "this operator" if len(rung.layers) == 1 else f"these {len(rung.layers)} operators"
        after = "exact" if rung.sqnr_db is None else f"{rung.sqnr_db:.1f} dB"
        return Suggestion(
            text=f"Keep {counted} in float: output SQNR {before:.1f} dB → {after} on the diagnosed samples. As --recipe FILE.toml:",
            recipe=f"[keep_float]\nnodes = [\n{nodes}]",
        )
    if single is not None:
        return Suggestion(
            text=f"{single.text} Output SQNR {single.gain_db or 0.0:+.1f} dB on the diagnosed samples. As --recipe FILE.toml:",
            recipe=single.recipe,
        )
    return Suggestion(
        text="No layer stands out: the error is spread over many. Try another --method, more calibration samples, or 16-bit "
        "activations where the target has them.",
        recipe="",
    )


def _best_rung(diagnosis: Diagnosis, before: float) -> FloatRung | None:
    """Return the last rung up to which every operator more still buys `_WORTH_A_LAYER_DB`; the first one if it buys something."""
    best, reached, count = None, before, 0
    for rung in diagnosis.ladder:
        risen = (200.0 if rung.sqnr_db is None else rung.sqnr_db) - reached
        wanted = _WORTH_DB if best is None else _WORTH_A_LAYER_DB * (len(rung.layers) - count)
        if risen < wanted:
            break
        best, reached, count = rung, reached + risen, len(rung.layers)
    return best


def _risen(rung: FloatRung, before: float) -> float:
    return (200.0 if rung.sqnr_db is None else rung.sqnr_db) - before


def _best_single(diagnosis: Diagnosis) -> Remedy | None:
    tried = [
        remedy
        for layer in diagnosis.layers
        for remedy in layer.remedies
        if remedy.recipe and (remedy.gain_db or 0.0) >= _WORTH_DB
    ]
    return max(tried, key=lambda remedy: remedy.gain_db or 0.0, default=None)
