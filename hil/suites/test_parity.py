"""Outputs on the board against the golden ones, which the host's own engine gave when the artifact was made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.golden import GoldenComparison
    from hil.plugin.fixtures import Measure

MOST_RAW_VALUES = 4096


def test_outputs_are_the_golden_ones_to_the_tolerance_of_the_engine(
    agent: Agent, golden: GoldenComparison, measure: Measure
) -> None:
    if not golden.samples:
        pytest.skip("the artifact has no golden samples")
    stream = io.BytesIO()
    np.savez(stream, **golden.frames())  # type: ignore[arg-type]  # its stub takes no mapping of arrays
    path = agent.send("golden.npz", stream.getvalue())
    agent.start(
        source={
            "kind": "replay",
            "path": path,
            "loop": True,
            "rate_hz": 100.0 / agent.rig.board.section.slowness,
        },
        results={
            "jsonl": f"{agent.folder}/results.jsonl",
            "max_rate_hz": 0.0,
            "raw_max_values": MOST_RAW_VALUES,
            "top_k": 1000,
        },
    )
    agent.wait_for(lambda: len(agent.results()) >= 2 * golden.samples, what="two rounds of results")
    assert agent.stop() == 0
    parity = golden.compare(agent.results())
    engine = agent.artifact.manifest.requires.engine
    note = f"{engine}: {parity.values} values of {parity.samples} samples, every one of them at least twice"
    tolerance = parity.tolerance
    measure("max_difference", parity.max_lsb, "LSB", high=tolerance.max_lsb, margin=0.5, note=note)
    measure("share_within_one_lsb", parity.share_within_one, "1", low=tolerance.min_share_within_one)
    measure("share_exact", parity.share_exact, "1")
    measure("max_absolute_difference", parity.max_absolute, "1", high=parity.absolute)
