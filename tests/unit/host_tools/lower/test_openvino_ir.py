"""OpenVINO IR: what the files say, and that nothing of the machine gets into them."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from lowering_cases import CASES, TWO_ENDS
from lowering_template import Prepared, prepare
from plan_simulation import simulate
from test_openvino_template import exact_here, load_in_float32

from device_agent.engines.openvino_library import openvino as ov
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import LoweringError, OutputError
from host_tools.plan.quantization_plan import Requantize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from targets.profile import CapabilityProfile

CASE = {case.name: case for case in CASES}


@pytest.fixture
def profile() -> CapabilityProfile:
    return exact_here("x86_64-openvino")


def constants(files: Mapping[str, bytes]) -> dict[str, tuple[str, np.ndarray]]:
    """Return element type and array of every constant, read from the two files without OpenVINO."""
    dtypes = {"f32": np.float32, "i8": np.int8, "u8": np.uint8, "i64": np.int64, "i32": np.int32}
    found: dict[str, tuple[str, np.ndarray]] = {}
    for layer in ET.fromstring(files["model.xml"]).iter("layer"):
        if layer.get("type") != "Const":
            continue
        data = layer.find("data")
        assert data is not None
        kind, offset, size = data.get("element_type"), int(data.get("offset")), int(data.get("size"))
        shape = [int(extent) for extent in data.get("shape", "").split(",") if extent]
        raw = files["model.bin"][offset : offset + size]
        found[layer.get("name")] = kind, np.frombuffer(raw, dtypes[kind]).reshape(shape)
    return found


@pytest.mark.parametrize("name", ["conv", "conv_grouped", "conv_depthwise", "gemm", "matmul_constant"])
def test_weights_are_the_plans_integers_and_no_float_weight_is_left(
    name: str, profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE[name], tmp_path, profile)
    stored = constants(prepared.lower().files)
    weights = [planned for planned in prepared.plan.tensors.values() if planned.role == "weight"]
    assert len(weights) >= 2
    for planned in weights:
        array = prepared.model.graph.graph.initializers[planned.name].const_value.numpy().astype(np.float64)
        aligned = [1] * array.ndim
        if planned.qparams.axis is not None:
            aligned[planned.qparams.axis] = -1
        scale = np.asarray(planned.qparams.scale, np.float64)
        kind, codes = stored[f"{planned.name}/codes"]
        assert kind == "i8"
        np.testing.assert_array_equal(codes.reshape(array.shape), np.rint(array / scale.reshape(aligned)))
        np.testing.assert_array_equal(
            stored[f"{planned.name}/scale"][1].reshape(-1), scale.astype(np.float32)
        )
    largest = max(array.size for kind, array in stored.values() if kind == "f32")
    assert largest <= max(len(planned.qparams.scale) for planned in weights)


def test_activations_have_the_plans_scales_and_zero_points(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    stored = constants(prepared.lower().files)
    for planned in prepared.plan.tensors.values():
        if planned.role in {"input", "activation", "output"} and planned.qparams is not None:
            assert stored[f"{planned.name}/scale"][1] == np.float32(planned.qparams.scale[0])
            if planned.qparams.zero_point[0]:
                assert stored[f"{planned.name}/zero_point"][1] == planned.qparams.zero_point[0]


def test_another_process_writes_the_same_bytes(profile: CapabilityProfile, tmp_path: Path) -> None:
    files = prepare(CASE["several_readers"], tmp_path, profile).lower().files
    script = (
        "import sys, pathlib; sys.path[:0] = sys.argv[1].split(':')\n"
        "from lowering_cases import CASES; from lowering_template import prepare; from test_openvino_template import exact_here\n"
        "case = next(case for case in CASES if case.name == 'several_readers')\n"
        "payload = prepare(case, pathlib.Path(sys.argv[2]), exact_here('x86_64-openvino')).lower()\n"
        "[pathlib.Path(sys.argv[2], name).write_bytes(data) for name, data in payload.files.items()]\n"
    )
    subprocess.run([sys.executable, "-c", script, ":".join(sys.path), str(tmp_path)], check=True, timeout=120)
    assert {name: (tmp_path / name).read_bytes() for name in files} == dict(files)


def test_nothing_of_this_machine_is_in_the_file(profile: CapabilityProfile, tmp_path: Path) -> None:
    text = prepare(CASE["conv"], tmp_path, profile).lower().files["model.xml"].decode()
    assert str(tmp_path) not in text
    assert tempfile.gettempdir() not in text
    assert ET.fromstring(text).get("name") == "model"


def test_nobody_is_told(profile: CapabilityProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    called: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: called.append(arguments) or [])
    prepared.lower()
    assert called == []


def test_inputs_and_outputs_keep_their_names(profile: CapabilityProfile, tmp_path: Path) -> None:
    network = ov.Core().read_model(*prepare(TWO_ENDS, tmp_path, profile).lower().files.values())
    assert [port.get_names() for port in network.inputs] == [{"x"}, {"z"}]
    assert [port.get_names() for port in network.outputs] == [{"s"}, {"y"}]


def test_a_requantized_edge_has_a_scale_of_its_own(profile: CapabilityProfile, tmp_path: Path) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    node = prepared.model.graph.graph[1]
    qparams = prepared.plan.tensors[node.inputs[0].name].qparams
    assert qparams is not None
    coarse = dataclasses.replace(qparams, scale=(qparams.scale[0] * 7.3,), zero_point=(100,))
    edge = Requantize(node=node.name, input_index=0, qparams=coarse, reason="test")
    changed = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, requantize=(edge,)))
    sample = prepared.samples()[0]
    found = run(changed, sample)
    unit = prepared.plan.tensors["y"].qparams.scale[0]
    assert np.abs(found - simulate(prepared.model, changed.plan, sample)["y"]).max() / unit <= 2.01
    assert np.abs(found - simulate(prepared.model, prepared.plan, sample)["y"]).max() / unit > 2.01


def run(prepared: Prepared, sample: Mapping[str, np.ndarray]) -> np.ndarray:
    payload = prepared.lower()
    engine = load_in_float32(payload.files, threads=1)
    return to_source(engine.infer(to_payload(sample, payload.inputs)), payload.outputs)["y"]


def test_a_float_weight_is_stored_as_float(profile: CapabilityProfile, tmp_path: Path) -> None:
    name = [node.name for node in prepare(CASE["conv"], tmp_path, profile).model.graph.graph][1]
    prepared = prepare(CASE["conv"], tmp_path, profile, keep_float=[name])
    stored = constants(prepared.lower().files)
    assert any(kind == "f32" and array.size == 8 * 8 * 9 for kind, array in stored.values())


def test_no_room_for_temporary_files_is_said(
    profile: CapabilityProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match="Temporary files"):
        prepared.lower()


def test_an_integer_interface_of_a_float_value_is_refused(profile: CapabilityProfile, tmp_path: Path) -> None:
    interface = dataclasses.replace(profile.interface, output_type="uint8")
    prepared = prepare(CASE["conv"], tmp_path, dataclasses.replace(profile, interface=interface))
    tensors = dict(prepared.plan.tensors)
    tensors["y"] = dataclasses.replace(tensors["y"], qparams=None)
    broken = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, tensors=tensors))
    with pytest.raises(LoweringError, match="'y': the target's interface is uint8"):
        broken.lower()


def test_an_activation_with_many_scales_is_refused(profile: CapabilityProfile, tmp_path: Path) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    name = next(n for n, t in prepared.plan.tensors.items() if t.role == "activation" and t.qparams)
    tensors = dict(prepared.plan.tensors)
    many = dataclasses.replace(tensors[name].qparams, scale=(0.1,) * 8, zero_point=(0,) * 8, axis=1)
    tensors[name] = dataclasses.replace(tensors[name], qparams=many)
    broken = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, tensors=tensors))
    with pytest.raises(LoweringError, match=rf"'{name}': an activation has one scale, the plan gives 8"):
        broken.lower()
