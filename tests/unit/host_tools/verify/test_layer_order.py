"""The chart of the layers: one order of execution for targets that do not have all tensors in common."""

from __future__ import annotations

import itertools

from host_tools.verify.report_page import _positions


def test_a_tensor_that_only_some_targets_have_follows_what_it_follows_there() -> None:
    fused = ["x", "relu1", "relu2", "y"]
    apart = ["x", "conv1", "relu1", "conv2", "relu2", "y"]
    headless = ["relu1", "y"]
    for runs in itertools.permutations((fused, apart, headless)):
        positions = _positions(runs)
        assert sorted(positions.values()) == list(range(6))
        for run in runs:
            places = [positions[value] for value in run]
            assert places == sorted(places)


def test_no_targets_have_no_positions() -> None:
    assert _positions([]) == {}
