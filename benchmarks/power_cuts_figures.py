"""What a record of power cuts shows, as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from benchmarks.spread import median_and_range
from hil.suites.updating import STEPS
from host_tools.review.analysis.estimates import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.suites.cut_record import Cut, CutRecord

MARK: Final = "power-cuts"
_SHORT_COMMIT: Final = 12


def markdown_of(record: CutRecord) -> str:
    """Return the figures as two tables."""
    cuts = record.cuts
    bricks = sum(cut.outcome == "brick" for cut in cuts)
    kept = sum(cut.outcome == "kept" for cut in cuts)
    low, high = wilson_interval(bricks, len(cuts))
    lines = [
        "| power cuts in updates | |",
        "|---|---|",
        f"| board | {_board(record.sessions[-1])} |",
        f"| cuts | {len(cuts)}, in {_counted(len(record.sessions), 'sitting')}; broken off with their sitting and made again: {record.broken_off} |",
        f"| bricks: the board did not come back, or did not end the update | {bricks} (95 % interval of the rate, Wilson: {100 * low:.1f} to {100 * high:.1f} %) |",
        f"| the update that was cut is kept, nothing else ever ran, no rollback | {kept} of {len(cuts)} |",
        f"| from the cut until the new model is kept | {_seconds(cuts)} |",
        f"| a cut with its update, from the release on | median {_median([cut.seconds for cut in cuts])} |",
        "",
        "| cut, up to 1 s after this began | cuts | kept | from the cut until the new model is kept |",
        "|---|---|---|---|",
    ]
    for step in STEPS:
        mine = [cut for cut in cuts if cut.step == step]
        if mine:
            lines.append(
                f"| `{step}` | {len(mine)} | {sum(cut.outcome == 'kept' for cut in mine)} | {_seconds(mine)} |"
            )
    lines += [
        "",
        f"Sittings (UTC, commit, load average as it began): {'; '.join(map(_sitting, record.sessions))}.",
    ]
    wrong = [
        f"Cut {cut.number}, at `{cut.step}`, {cut.outcome}: {_line(cut.reason)}" for cut in cuts if cut.reason
    ]
    return "\n".join([*lines, *(["", *wrong] if wrong else []), ""])


def document_of(record: CutRecord) -> dict[str, Any]:
    """Return the same, and every cut, as JSON has it."""
    bricks = sum(cut.outcome == "brick" for cut in record.cuts)
    return {
        "cuts": len(record.cuts),
        "bricks": bricks,
        "bricks_rate_interval_95": list(wilson_interval(bricks, len(record.cuts))),
        "kept": sum(cut.outcome == "kept" for cut in record.cuts),
        "broken_off": record.broken_off,
        "sittings": [dict(session) for session in record.sessions],
        "each": [asdict(cut) for cut in record.cuts],
    }


def _board(facts: Mapping[str, str]) -> str:
    told = [facts.get(name, "") for name in ("rig_description", "emulator", "accelerator", "board_image")]
    return f"`{facts.get('rig', '')}`: {'; '.join(one for one in told if one)}"


def _sitting(facts: Mapping[str, str]) -> str:
    began = datetime.fromtimestamp(float(facts.get("began", "0")), timezone.utc)
    commit, _, changes = facts.get("git_commit", "").partition("+")
    return f"{began:%Y-%m-%d %H:%M}, {commit[:_SHORT_COMMIT]}{' with changes' if changes else ''}, {facts.get('load_average', '')}"


def _seconds(cuts: Sequence[Cut]) -> str:
    taken = [cut.recovery_seconds for cut in cuts if cut.recovery_seconds is not None]
    return f"median {_median(taken)}" if taken else "never"


def _median(seconds: Sequence[float]) -> str:
    found = median_and_range(seconds)
    return f"{found.value:.1f} s ({found.low:.1f} to {found.high:.1f} s)"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
