"""What Model Explorer is given: numbers where there are any, under the names that the file has."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from host_tools.model.topology import network_of
from host_tools.verify.candidate import Candidate
from host_tools.verify.node_data import node_data
from host_tools.verify.verification_report import LayerError
from tests.unit.host_tools.lower.uncalibrated_networks import made, network

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = (
    LayerError(value="wide", op_type="MatMul", sqnr_db=12.25),
    LayerError(value="bent", op_type="Relu", sqnr_db=None),
    LayerError(value="hidden", op_type="MatMul", sqnr_db=-math.inf),
)


def candidate(folder: Path, target: str) -> Candidate:
    model = network(folder)
    profile, plan, payload = made(model, target, "weights-int8")
    return Candidate(profile=profile, model=model, plan=plan, payload=payload)


@pytest.mark.parametrize("target", ["cortex-a-tflite", "x86_64-onnxruntime"])
def test_what_is_exact_or_without_a_signal_has_no_number(tmp_path: Path, target: str) -> None:
    one = candidate(tmp_path, target)
    is_tflite = one.payload.format == "tflite"
    key = one.payload.tensor_names["wide"] if is_tflite else network_of(one.model.graph).writers["wide"]
    data = node_data(one, LAYERS)
    assert data is not None
    assert json.loads(data)["results"] == {key: {"value": 12.25}}
    assert json.loads(node_data(one, ()) or b"")["results"] == {}


def test_nothing_is_written_for_a_format_that_it_does_not_open(tmp_path: Path) -> None:
    assert node_data(candidate(tmp_path, "x86_64-openvino"), LAYERS) is None
