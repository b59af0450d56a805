"""Everything that is written for `cortex-a-tflite-legacy`, run by tflite-runtime 2.14 itself, in the environment of its own that it needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from lowering_cases import CASES, TWO_ENDS, Case
from lowering_template import prepare
from plan_simulation import simulate
from tflite_file import float_payload, only, run

from device_agent.sources.adapt import to_payload, to_source
from targets import catalog
from tests.integration.environments import run_legacy

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from tflite_runtime.interpreter import Interpreter

folder, said = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.tflite")):
    try:
        engine = Interpreter(model_path=str(path), num_threads=1)
        engine.allocate_tensors()
        for detail in engine.get_input_details():
            engine.set_tensor(detail["index"], np.load(folder / f"{path.stem}.{detail['name']}.in.npy"))
        engine.invoke()
        for detail in engine.get_output_details():
            np.save(folder / f"{path.stem}.{detail['name']}.out.npy", engine.get_tensor(detail["index"]))
        said[path.stem] = "ran"
    except (RuntimeError, ValueError) as error:
        said[path.stem] = str(error)
print(json.dumps(said))
"""


def run_all(folder: Path) -> dict[str, str]:
    said: dict[str, str] = json.loads(run_legacy("-c", PROGRAM, str(folder)))
    return said


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def put(folder: Path, stem: str, payload, sample) -> None:
    (folder / f"{stem}.tflite").write_bytes(payload.files["model.tflite"])
    for tensor, array in zip(payload.inputs, to_payload(sample, payload.inputs), strict=True):
        np.save(folder / f"{stem}.{tensor.name}.in.npy", array)


def taken(folder: Path, stem: str, payload) -> dict[str, np.ndarray]:
    arrays = [np.load(folder / f"{stem}.{tensor.name}.out.npy") for tensor in payload.outputs]
    return to_source(arrays, payload.outputs)


def test_every_network_runs_and_gives_the_codes_of_today_s_built_in_kernels(
    place: Path, tmp_path: Path
) -> None:
    profile = catalog.load("cortex-a-tflite-legacy")
    made = {}
    for case in (*CASES, TWO_ENDS):
        prepared = prepare(case, tmp_path, profile)
        payload, sample = prepared.lower(), prepared.samples()[0]
        put(place, case.name, payload, sample)
        made[case.name] = prepared, payload, sample
    assert run_all(place) == dict.fromkeys(made, "ran")
    for name, (prepared, payload, sample) in made.items():
        now = run(payload, sample)
        for output, array in taken(place, name, payload).items():
            qparams = prepared.plan.tensors[output].qparams
            unit = qparams.scale[0] if qparams is not None else float(np.ptp(now[output])) / 255
            # A code of another rounding inside weighs more behind the last Conv; the same limit as on today's kernels.
            assert np.abs(array - now[output]).max() / unit <= 8, name
            assert np.mean(np.abs(array - now[output]) > 1.5 * unit) <= 0.05, name


def test_every_float_network_runs(place: Path, tmp_path: Path) -> None:
    made = {}
    for case in (*CASES, TWO_ENDS):
        model, payload = float_payload(case, tmp_path, "cortex-a-tflite-legacy")
        rng = np.random.default_rng(1)
        sample = {spec.name: rng.normal(0, 1, spec.shape).astype(np.float32) for spec in model.inputs}
        put(place, case.name, payload, sample)
        made[case.name] = payload, sample
    assert run_all(place) == dict.fromkeys(made, "ran")
    for name, (payload, sample) in made.items():
        now = run(payload, sample)
        for output, array in taken(place, name, payload).items():
            np.testing.assert_allclose(array, now[output], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_dense_layer_of_version_4_has_a_scale_for_each_channel_there_too(
    place: Path, tmp_path: Path
) -> None:
    """The proof of what `versions` says of FULLY_CONNECTED: channels that differ a hundredfold, none computed with another's scale."""
    profile = catalog.load("cortex-a-tflite")
    made = {}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        inputs, outputs = int(rng.integers(3, 200)), int(rng.integers(2, 40))
        weight = rng.standard_normal((outputs, inputs)) * np.geomspace(0.01, 3, outputs)[:, None]
        constants = {"w": weight.astype(np.float32), "b": rng.standard_normal(outputs).astype(np.float32)}
        text = f"net (float[1,{inputs}] x) => (float[1,{outputs}] y) {{ y = Gemm<transB=1>(x, w, b) }}"
        prepared = prepare(Case(f"dense_{seed}", text, constants), tmp_path, profile)
        payload, sample = prepared.lower(), prepared.samples()[0]
        op = only(payload, "FULLY_CONNECTED")
        assert (op.version, len(op.inputs[1].scale)) == (4, outputs)
        put(place, f"dense_{seed}", payload, sample)
        made[f"dense_{seed}"] = prepared, payload, sample
    assert run_all(place) == dict.fromkeys(made, "ran")
    for name, (prepared, payload, sample) in made.items():
        expected = simulate(prepared.model, prepared.plan, sample)["y"]
        unit = prepared.plan.tensors["y"].qparams.scale[0]
        assert np.abs(taken(place, name, payload)["y"] - expected).max() / unit <= 1.01
