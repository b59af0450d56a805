"""Drift of outputs: the index by hand, chance where there is none, and what is found where there is."""

from __future__ import annotations

import numpy as np
import pytest

from host_tools.review.analysis.output_drift import drifts, psi, told
from host_tools.review.store.windows import OutputTable

DEVICES = 30


def _outputs(
    seed: int, *, moved: float = 0.0, less_sure: float = 0.0, frames: int = 200
) -> tuple[OutputTable, np.ndarray]:
    """Devices whose frames are alike, on two sides; a share of the second side's moves to class 0."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, int, int, np.ndarray]] = []
    for number in range(DEVICES):
        own = rng.dirichlet(np.full(6, 3.0))
        for side in (0, 1):
            today = rng.dirichlet(own * 60 + 1e-3)
            if side:
                today = today * (1 - moved) + moved * np.eye(6)[0]
            counts = rng.multinomial(frames, today)
            for index in np.flatnonzero(counts):
                sure = rng.beta(9 * (1 - less_sure * side), 2, counts[index])
                rows.append((f"d{number:02}", side, int(index), np.histogram(sure, bins=20, range=(0, 1))[0]))
    confidence = np.array([row[3] for row in rows])
    table = OutputTable(
        axes=("device",),
        keys=(np.array([row[0] for row in rows], dtype=object),),
        name=np.full(len(rows), "scores", dtype=object),
        top_index=np.array([row[2] for row in rows]),
        count=confidence.sum(axis=1),
        confidence=confidence,
    )
    return table, np.array([row[1] for row in rows])


def test_index_by_hand() -> None:
    # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5), of so many frames that half a one is nothing.
    assert psi(np.array([5e8, 5e8]), np.array([6e8, 4e8])) == pytest.approx(
        0.1 * np.log(1.2) - 0.1 * np.log(0.8)
    )
    assert psi(np.array([3.0, 0.0]), np.array([3.0, 0.0])) == 0.0


def test_index_of_chance_is_what_theory_says() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    before, after = rng.multinomial(400, shares, 4000), rng.multinomial(800, shares, 4000)
    assert psi(before, after).mean() == pytest.approx(9 * (1 / 400 + 1 / 800), rel=0.05)


def test_devices_whose_days_differ_are_no_drift() -> None:
    p_values = []
    for seed in range(40):
        table, side = _outputs(seed)
        found = drifts(table, side, groups={})
        assert told(found, artifacts=(), start=0.0, end=1.0, since="now") == ()
        p_values += [one.p_value for one in found]
    assert len(p_values) == 80
    assert np.mean(np.array(p_values) < 0.05) < 0.12
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


def test_a_class_that_takes_over_is_found_and_named() -> None:
    table, side = _outputs(1, moved=0.2)
    found = drifts(table, side, groups={})
    classes = next(one for one in found if one.subject == "classes")
    assert classes.most_moved == 0
    assert classes.share_after - classes.share_before == pytest.approx(
        0.2 * (1 - classes.share_before), abs=0.05
    )
    assert classes.corrected < classes.psi
    (finding,) = told(found, artifacts=(), start=0.0, end=1.0, since="since noon")
    assert finding.severity == "warning"
    assert "class 0" in finding.what
    assert "since noon" in finding.what


def test_confidence_that_falls_is_found() -> None:
    table, side = _outputs(1, less_sure=0.4)
    found = told(drifts(table, side, groups={}), artifacts=(), start=0.0, end=1.0, since="now")
    (finding,) = [one for one in found if "confidence" in one.what]
    assert finding.evidence["largest_distance"] > 0.1


def test_the_order_of_devices_and_the_sides_names_say_nothing() -> None:
    table, side = _outputs(1, moved=0.1)
    forth = drifts(table, side, groups={})
    back = drifts(table, 1 - side, groups={})
    for one, other in zip(forth, back, strict=True):
        assert one.psi == pytest.approx(other.psi, rel=1e-9)
        assert one.frames_before == other.frames_after


def test_few_devices_or_frames_say_nothing() -> None:
    table, side = _outputs(1, moved=0.5, frames=5)
    assert drifts(table, side, groups={}) == ()
    some = drifts(*_outputs(1, moved=0.5), groups={f"d{n:02}": f"target {n % 6}" for n in range(DEVICES)})
    assert some == ()
