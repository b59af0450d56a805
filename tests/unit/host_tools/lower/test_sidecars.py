"""Files for vendors' compilers, held against their published formats."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowering_cases import CASES, Case
from lowering_template import Prepared, prepare
from plan_simulation import simulate

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.errors import LoweringError
from host_tools.lower.encodings import encodings_json
from host_tools.lower.nncase_scheme import quant_scheme_json
from host_tools.lower.planned_values import with_planned_values
from host_tools.lower.sidecars import SIDECAR_FILES
from host_tools.plan.quantization_plan import QParams, Requantize
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

CASE = {case.name: case for case in CASES}
SEVERAL = [
    CASE[name]
    for name in ("conv_relu", "gemm", "add", "relu_bound_per_channel", "clip_alone", "conv_transpose_grouped")
]


def qualcomm(case: Case, folder: Path) -> tuple[Prepared, dict[str, Any]]:
    prepared = prepare(case, folder, catalog.load("qualcomm-htp"))
    return prepared, json.loads(prepared.lower().sidecars["model.encodings"])


def kendryte(case: Case, folder: Path) -> tuple[Prepared, dict[str, Any]]:
    prepared = prepare(case, folder, catalog.load("kendryte-k230"))
    return prepared, json.loads(prepared.lower().sidecars["quant_scheme.json"])


def test_only_what_the_profile_names_is_written(tmp_path: Path) -> None:
    assert set(prepare(CASE["conv"], tmp_path, catalog.load("qualcomm-htp")).lower().sidecars) == {
        "model_float.onnx",
        "model.encodings",
    }
    assert not prepare(CASE["conv"], tmp_path, catalog.load("x86_64-onnxruntime")).lower().sidecars
    assert len(set(SIDECAR_FILES.values())) == len(SIDECAR_FILES)


class TestFloatModel:
    @pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.name)
    def test_it_is_the_float_model_with_the_plans_own_values(self, case: Case, tmp_path: Path) -> None:
        prepared = prepare(case, tmp_path, catalog.load("qualcomm-htp"))
        data = prepared.lower().sidecars["model_float.onnx"]
        onnx.checker.check_model(data, full_check=True)
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        tensors = {
            name: dataclasses.replace(one, qparams=None) for name, one in prepared.plan.tensors.items()
        }
        sample = prepared.samples()[0]
        expected = simulate(
            prepared.model, dataclasses.replace(prepared.plan, tensors=tensors, requantize=()), sample
        )
        names = [output.name for output in session.get_outputs()]
        for name, array in zip(names, session.run(None, dict(sample)), strict=True):
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)
        assert "QuantizeLinear" not in {node.op_type for node in onnx.load_from_string(data).graph.node}


class TestEncodings:
    @pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.name)
    def test_every_tensor_of_the_float_model_has_one_entry(self, case: Case, tmp_path: Path) -> None:
        prepared, document = qualcomm(case, tmp_path)
        model = onnx.load_from_string(prepared.lower().sidecars["model_float.onnx"])
        fused = {name for name, planned in prepared.plan.tensors.items() if planned.role == "fused"}
        activations = {value.name for value in model.graph.input}
        activations |= {name for node in model.graph.node for name in node.output}
        found = [entry["name"] for entry in document["activation_encodings"]]
        assert sorted(found) == sorted(activations - fused)
        weighted = {
            name
            for node in model.graph.node
            if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
            for name in node.input[1:]
        }
        parameters = [entry["name"] for entry in document["param_encodings"]]
        assert weighted <= set(parameters) | activations
        assert len(set(parameters)) == len(parameters)

    def test_the_form_is_that_of_version_1_0_0(self, tmp_path: Path) -> None:
        prepared, document = qualcomm(CASE["conv_relu"], tmp_path)
        assert list(document) == ["version", "activation_encodings", "param_encodings"]
        assert document["version"] == "1.0.0"
        for entry in document["activation_encodings"] + document["param_encodings"]:
            assert set(entry) == {"name", "enc_type", "dtype", "bw", "is_sym", "scale", "offset"}
            assert entry["enc_type"] in ("PER_TENSOR", "PER_CHANNEL")
            assert entry["dtype"] == "INT"
            assert len(entry["scale"]) == len(entry["offset"])
            assert (len(entry["scale"]) > 1) == (entry["enc_type"] == "PER_CHANNEL")
            assert all(isinstance(offset, int) and offset <= 0 for offset in entry["offset"])
        by_name = {entry["name"]: entry for entry in document["param_encodings"]}
        weight = next(name for name, one in prepared.plan.tensors.items() if one.role == "weight")
        bias = next(name for name, one in prepared.plan.tensors.items() if one.role == "bias")
        assert (by_name[weight]["bw"], by_name[weight]["is_sym"], by_name[weight]["offset"][0]) == (
            8,
            True,
            -128,
        )
        assert (by_name[bias]["bw"], by_name[bias]["is_sym"], by_name[bias]["offset"][0]) == (
            32,
            True,
            -(2**31),
        )

    def test_what_stays_float_says_so(self, tmp_path: Path) -> None:
        profile = catalog.load("qualcomm-htp")
        prepared = prepare(CASE["conv"], tmp_path, profile)
        name = prepared.model.graph.graph[1].name
        prepared = prepare(CASE["conv"], tmp_path, profile, keep_float=[name])
        document = json.loads(prepared.lower().sidecars["model.encodings"])
        weight = prepared.model.graph.graph[1].inputs[1].name
        entry = next(entry for entry in document["param_encodings"] if entry["name"] == weight)
        assert entry == {"name": weight, "enc_type": "PER_TENSOR", "dtype": "FLOAT", "bw": 32}

    @given(
        scale=st.floats(2**-20, 2**10),
        zero_point=st.integers(0, 255),
        code=st.integers(0, 255),
        signed=st.booleans(),
    )
    def test_scale_and_offset_say_the_same_numbers_as_the_plan(
        self, scale: float, zero_point: int, code: int, signed: bool
    ) -> None:
        """AIMET: real = scale * (unsigned code + offset)."""
        shift = 128 if signed else 0
        qparams = QParams(
            scale=(scale,),
            zero_point=(zero_point - shift,),
            dtype="int8" if signed else "uint8",
            quant_min=-shift,
            quant_max=255 - shift,
            axis=None,
        )
        entry = _entry_of(qparams, signed=signed)
        assert entry["scale"][0] * (code + entry["offset"][0]) == scale * (
            (code - shift) - qparams.zero_point[0]
        )

    def test_a_requantized_edge_is_refused(self, tmp_path: Path) -> None:
        prepared, _ = qualcomm(CASE["add"], tmp_path)
        plan = dataclasses.replace(prepared.plan, requantize=(_edge(prepared, "Add"),))
        with pytest.raises(LoweringError, match=r"Add.*input 0.*cannot re-quantize"):
            encodings_json(with_planned_values(prepared.model, plan), plan, prepared.profile)


class TestNncaseScheme:
    @pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.name)
    def test_every_quantized_activation_has_its_range(self, case: Case, tmp_path: Path) -> None:
        prepared, document = kendryte(case, tmp_path)
        assert list(document) == ["Version", "Model", "Outputs"]
        assert (document["Version"], document["Model"]) == ("1.0", None)
        activations = {
            name
            for name, planned in prepared.plan.tensors.items()
            if planned.role in ("input", "activation", "output") and planned.qparams is not None
        }
        assert {entry["Name"] for entry in document["Outputs"]} == activations
        for entry in document["Outputs"]:
            assert set(entry) == {"Name", "DataType", "DataRange", "DataRangeMode"}
            assert (entry["DataType"], entry["DataRangeMode"]) == ("u8", "by_tensor")
            (bounds,) = entry["DataRange"]
            assert set(bounds) == {"Min", "Max", "IsFull"}
            qparams = prepared.plan.tensors[entry["Name"]].qparams
            assert bounds["Max"] - bounds["Min"] == pytest.approx(255 * qparams.scale[0])
            assert bounds["Min"] == -qparams.zero_point[0] * qparams.scale[0]

    def test_a_requantized_edge_is_refused(self, tmp_path: Path) -> None:
        prepared, _ = kendryte(CASE["add"], tmp_path)
        plan = dataclasses.replace(prepared.plan, requantize=(_edge(prepared, "Add"),))
        with pytest.raises(LoweringError, match=r"Add.*input 0.*cannot re-quantize"):
            quant_scheme_json(prepared.model, plan)

    def test_a_type_that_it_lacks_is_refused(self, tmp_path: Path) -> None:
        prepared, _ = kendryte(CASE["conv"], tmp_path)
        name = prepared.model.outputs[0].name
        planned = prepared.plan.tensors[name]
        wide = dataclasses.replace(planned.qparams, dtype="int32")
        tensors = {**prepared.plan.tensors, name: dataclasses.replace(planned, qparams=wide)}
        with pytest.raises(LoweringError, match=f"Value '{name}': nncase's scheme has no int32"):
            quant_scheme_json(prepared.model, dataclasses.replace(prepared.plan, tensors=tensors))


def _edge(prepared: Prepared, op_type: str) -> Requantize:
    node = next(node for node in prepared.model.graph.graph if node.op_type == op_type)
    qparams = prepared.plan.tensors[node.outputs[0].name].qparams
    return Requantize(node=node.name, input_index=0, qparams=qparams, reason="a test asks for it")


def _entry_of(qparams: QParams, *, signed: bool) -> dict[str, Any]:
    from host_tools.lower.encodings import _entry
    from host_tools.plan.quantization_plan import TensorPlan

    profile = catalog.load("qualcomm-htp")
    activations = dataclasses.replace(profile.activations, signed=signed)
    planned = TensorPlan(name="x", role="activation", qparams=qparams, reason="test")
    return _entry(planned, dataclasses.replace(profile, activations=activations))
