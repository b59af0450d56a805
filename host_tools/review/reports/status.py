"""Exit status of a report, for scripts: 0 nothing is worse, 1 something is, 3 too little is known to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host_tools.review.analysis.findings import Comparison, Review

FINE = 0
WORSE = 1
NOT_ENOUGH = 3


def comparison_status(comparison: Comparison) -> int:
    """Return 0 for `better` and `no_worse`, 1 for `worse`, 3 for `unclear` and `too_few`."""
    if comparison.verdict == "worse":
        return WORSE
    return FINE if comparison.verdict in ("better", "no_worse") else NOT_ENOUGH


def review_status(review: Review) -> int:
    """Return 1 when a finding needs somebody now (`error`), 3 when nothing was heard, else 0."""
    if any(finding.severity == "error" for finding in review.findings):
        return WORSE
    return FINE if review.reporting else NOT_ENOUGH
