"""``batch.html``: the table for people, in one file without script or network; each row leads to the report of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.batch.table import metrics, rows
from host_tools.pages.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.batch.table import Entry


def render_batch(entries: Sequence[Entry], *, side_by_side: str, tools: Mapping[str, str]) -> str:
    """Return the page as HTML text.

    Args:
        entries: All jobs.
        side_by_side: What ran the jobs: latency that was measured beside other work is not that of a quiet machine.
        tools: Their versions, as `made_with` gives them.
    """
    table = rows(entries)
    counts = {
        verdict: sum(row.verdict == verdict for row in table)
        for verdict in ("pass", "marginal", "fail", "nonfinite", "refused", "failed")
    }
    return render(
        "batch.html",
        title=f"Batch of {len(entries)} models",
        rows=table,
        metrics=[f"{name} %" if name.startswith("top-") else name for name in metrics(entries)],
        counts={verdict: count for verdict, count in counts.items() if count},
        side_by_side=side_by_side,
        has_stand_in=any(row.latency.endswith("*") for row in table),
        made_with=sorted(tools.items()),
    )
