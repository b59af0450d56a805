"""Engines given payloads that are cut short, lack a tensor or cannot be run: each says so as our own error."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from device_agent.contract.errors import EdgewrightError, EngineError
from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import DataError, OutputError, VerificationError
from host_tools.lower.payload import Payload
from host_tools.observe import open_data
from host_tools.progress import Silent
from host_tools.verify.candidate import Evaluation
from host_tools.verify.probes import PROBES
from host_tools.verify.verification_report import Budget
from host_tools.verify.verifier import verify
from tests.e2e.small_network import samples
from tests.unit.host_tools.small_candidate import small_candidate

if TYPE_CHECKING:
    from host_tools.model import FloatModel
    from host_tools.verify.candidate import Candidate

TARGETS = {
    "onnx_qdq": "x86_64-onnxruntime",
    "openvino_ir": "x86_64-openvino",
    "tflite": "cortex-a-tflite",
}
ENGINE = {"onnx_qdq": "ONNX Runtime", "openvino_ir": "OpenVINO", "tflite": "LiteRT"}
IMAGE = np.zeros((1, 3, 16, 16), np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[FloatModel, Candidate]]:
    return {kind: small_candidate(tmp_path_factory.mktemp(kind), target) for kind, target in TARGETS.items()}


def broken(payload: Payload, change: object) -> Payload:
    """Return the payload with its main file cut in half, emptied or replaced by noise."""
    name, content = next(iter(payload.files.items()))
    other = {"half": content[: len(content) // 2], "empty": b"", "noise": b"\x8f\x00 noise" * 100}[
        str(change)
    ]
    return dataclasses.replace(payload, files={**payload.files, name: other})


@pytest.mark.parametrize("change", ["half", "empty", "noise"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_damaged_payload_is_refused_by_its_engines_name(
    kind: str, change: str, made: dict[str, tuple[FloatModel, Candidate]]
) -> None:
    payload = broken(made[kind][1].payload, change)
    for look in (
        lambda: PROBES[kind].executed_ops(payload, threads=1),
        lambda: PROBES[kind].open_layers(payload, ["logits"], threads=1),
    ):
        with pytest.raises(
            VerificationError, match=rf"(ONNX|{ENGINE[kind]}) (refuses|cannot read) the payload: ."
        ):
            look()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("onnx_qdq", "ONNX Runtime refuses the payload: .*absent"),
        ("openvino_ir", "OpenVINO cannot show the tensors of the payload: .*absent"),
        ("tflite", "The TFLite payload has no tensor 'absent', which its lowering names"),
    ],
)
def test_a_tensor_that_the_payload_lacks_is_named(
    kind: str, said: str, made: dict[str, tuple[FloatModel, Candidate]]
) -> None:
    payload = dataclasses.replace(made[kind][1].payload, tensor_names={"logits": "absent"})
    with pytest.raises(VerificationError, match=f"(?s){said}"):
        PROBES[kind].open_layers(payload, ["logits"], threads=1)


def test_a_network_that_openvino_reads_but_does_not_compile(tmp_path: Path) -> None:
    image = ov.opset13.parameter(ov.PartialShape.dynamic(), np.float32)
    ov.serialize(ov.Model([ov.opset13.relu(image)], [image], "m"), tmp_path / "model.xml")
    files = {name: (tmp_path / name).read_bytes() for name in ("model.xml", "model.bin")}
    payload = Payload(format="openvino_ir", files=files, inputs=(), outputs=(), tensor_names={}, notes=())
    with pytest.raises(
        VerificationError, match=r"(?s)OpenVINO cannot compile the payload: .*dynamic rank"
    ) as said:
        PROBES["openvino_ir"].executed_ops(payload, threads=1)
    assert said.value.__cause__ is not None


@pytest.mark.parametrize("kind", TARGETS)
def test_a_run_that_fails_is_our_error(kind: str, made: dict[str, tuple[FloatModel, Candidate]]) -> None:
    payload = made[kind][1].payload
    read = PROBES[kind].open_layers(payload, ["logits"], threads=1)
    with pytest.raises(VerificationError, match=rf"{ENGINE[kind]} failed while running the payload: ."):
        read([np.zeros((1, 2), np.float32)])


def test_no_room_for_temporary_files_is_named(
    made: dict[str, tuple[FloatModel, Candidate]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match=r"Temporary files .*absent.*TMPDIR"):
        PROBES["onnx_qdq"].executed_ops(made["onnx_qdq"][1].payload, threads=1)


def verified(model: FloatModel, candidate: Candidate, path: Path) -> None:
    data = open_data(path, inputs=model.inputs)
    verify(
        model,
        [candidate],
        evaluation=Evaluation(data=data, labels=None, metric=None, origin="test"),
        budget=Budget(),
        calibration_samples=4,
        threads=1,
        latency=False,
        made_with={},
        progress=Silent(),
    )


def test_a_float_output_that_is_not_finite_names_sample_and_output(
    made: dict[str, tuple[FloatModel, Candidate]], tmp_path: Path
) -> None:
    arrays = samples(3)
    arrays[1] = 3e38
    np.save(tmp_path / "huge.npy", arrays)
    with pytest.raises(DataError, match=r"sample 1: the float model's output 'logits' is NaN") as said:
        verified(*made["tflite"], tmp_path / "huge.npy")
    assert "leave the sample out" in said.value.hint


@pytest.mark.parametrize("change", ["half", "empty", "noise"])
@pytest.mark.parametrize("kind", TARGETS)
def test_verifying_a_damaged_payload_gives_our_error(
    kind: str, change: str, made: dict[str, tuple[FloatModel, Candidate]], tmp_path: Path
) -> None:
    model, candidate = made[kind]
    np.save(tmp_path / "data.npy", samples(2))
    damaged = dataclasses.replace(candidate, payload=broken(candidate.payload, change))
    with pytest.raises(EdgewrightError) as said:
        verified(model, damaged, tmp_path / "data.npy")
    assert isinstance(said.value, EngineError)
