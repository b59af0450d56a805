"""Figures of detection, and their tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.review.detection import faulty_fleet, null_fleet
from benchmarks.review.detection_by_artifact import changed_fleet
from benchmarks.review.detection_outcomes import Outcome, rates
from benchmarks.review.detection_tables import DOCUMENT, tables, write_tables


def test_outcomes_add_up_by_kind_and_size_with_intervals() -> None:
    some = [Outcome(kind="silent", size=1.0, hits=hits, trials=10) for hits in (10, 9)]
    (row,) = rates(some)
    assert (row["hits"], row["trials"], row["rate"]) == (19, 20, 0.95)
    # Newcombe, Statist. Med. 17 (1998): Wilson's interval of 19 of 20 mirrors that of 1 of 20.
    assert (row["low"], row["high"]) == pytest.approx((0.7639, 0.9911), abs=5e-4)


def test_one_fleet_of_each_half_gives_every_figure_of_the_tables(tmp_path: Path) -> None:
    figures = rates([*null_fleet(0), *faulty_fleet(4), *changed_fleet(4)])
    text = tables(figures, fleets=1)
    assert text.count("| 0 of 1 ") == 13, "a finding in a fleet without a fault"
    assert "| regression: latency | latency of one target | 10 %: 1 of 1" in text
    assert "in standard deviations of theirs | 0.5: 1 of 1" in text
    assert "| improvement | latency of one target that B takes away | 10 %: 1 of 1" in text
    assert "of one target's devices with B | 20 %: 3 of 3" in text
    for line in text.splitlines():
        if line.startswith("| ") and "of what size" not in line and "looked for" not in line:
            assert " of " in line
    document = tmp_path / "analysis.md"
    document.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    write_tables(figures, fleets=1, document=document)
    write_tables(figures, fleets=1, document=document)
    assert document.read_text(encoding="utf-8").count("in 1 fleets without any fault") == 1
