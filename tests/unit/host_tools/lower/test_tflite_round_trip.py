"""A float file of ours comes in again: ONNX Runtime on what it became equals LiteRT on the file, and it goes out with no more Transposes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from lowering_cases import CASES, TWO_ENDS, Case
from lowering_template import Samples
from test_tflite_functions import CASES as FUNCTIONS
from test_tflite_operators import FLOAT
from test_tflite_random import networks
from tflite_file import BUILT_IN, float_payload, float_plan, interpreter, names_of

from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from targets import catalog

EVERY = {f"{kind}-{case.name}": case for kind, cases in (("int", (*CASES, TWO_ENDS)), ("float", FLOAT), ("function", FUNCTIONS)) for case in cases}  # fmt: skip

WITHOUT_IMAGES = {
    "add_of_activations_of_ranks", "computed_pairs", "one_hot_along_the_last_axis", "one_hot_of_channels",
}  # fmt: skip
"""Nothing in it, or in what is made of indices there, says which axis is the channels, so what goes out lies as our lowering takes four axes to lie:
one or two Transposes more."""


def comes_back(case: Case, folder: Path, *, counted: bool = True) -> None:
    _, payload = float_payload(case, folder)
    path = folder / "again.tflite"
    path.write_bytes(payload.files["model.tflite"])
    model = load(path)
    engine, runner = interpreter(payload, BUILT_IN), FloatRunner(model, threads=1)
    details = engine.get_input_details()
    assert [spec.name for spec in model.inputs] == [one["name"] for one in details]
    assert [spec.shape for spec in model.inputs] == [tuple(one["shape"]) for one in details]
    for _, sample in Samples(model, count=2, seed=3).samples():
        for one in details:
            engine.set_tensor(one["index"], sample[one["name"]])
        engine.invoke()
        found = runner.run(sample)
        assert set(found) == {one["name"] for one in engine.get_output_details()}
        for one in engine.get_output_details():
            wanted = engine.get_tensor(one["index"])
            assert found[one["name"]].dtype == wanted.dtype
            np.testing.assert_allclose(
                found[one["name"]], wanted, rtol=1e-4, atol=1e-4, err_msg=str(one["name"])
            )
    profile = catalog.load("cortex-a-tflite")
    again = lower(model, float_plan(model, profile), profile)
    if counted and case.name not in WITHOUT_IMAGES:
        assert names_of(again).count("TRANSPOSE") <= names_of(payload).count("TRANSPOSE")


@pytest.mark.parametrize("case", EVERY.values(), ids=EVERY)
def test_every_operator_that_we_write(case: Case, tmp_path: Path) -> None:
    comes_back(case, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=networks())
def test_random_networks_come_back(case: Case) -> None:
    """A product of images as matrices wants them in the other order, and our lowering turns whole groups of values, not the fewest."""
    with tempfile.TemporaryDirectory() as folder:
        comes_back(case, Path(folder), counted="MatMul" not in case.text)
