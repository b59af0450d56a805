"""Every operator written for Rockchip's NPU, built and simulated by Rockchip's own toolkit for RK3588.

The simulator computes in its own way: outputs are near the plan's, not equal to them, and a code becomes many behind the next Conv.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from efficientnet import sqnr_of, write_efficientnet
from lowering_cases import CASES, TWO_ENDS
from lowering_template import prepare
from plan_simulation import simulate

from device_agent.sources.adapt import to_payload, to_source
from targets import catalog
from tests.integration.environments import run_rknn

if TYPE_CHECKING:
    from pathlib import Path

    from lowering_template import Prepared

    from host_tools.lower.payload import Payload

    Ran = tuple[Path, dict[str, str], dict[str, tuple[Prepared, Payload]]]

PROGRAM = """
import contextlib, importlib.machinery, io, json, sys
from pathlib import Path
from unittest.mock import MagicMock

class NoTorch:
    '''The toolkit imports PyTorch for its PyTorch reader alone.'''
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        module.Tensor, module.__version__ = type("Tensor", (), {}), "0"
        return module
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, NoTorch())
import numpy as np
from rknn.api import RKNN

folder, said = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.onnx")):
    tool = RKNN(verbose=False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            tool.config(target_platform="rk3588")
            assert tool.load_onnx(model=str(path)) == 0
            assert tool.build(do_quantization=False) == 0
            assert tool.init_runtime() == 0
            arrays = [np.load(file) for file in sorted(folder.glob(f"{path.stem}.in*.npy"))]
            outputs = tool.inference(inputs=arrays, data_format=["nchw"] * len(arrays))
        for index, array in enumerate(outputs):
            np.save(folder / f"{path.stem}.out{index}.npy", array)
        said[path.stem] = "ran"
    except Exception as error:
        said[path.stem] = repr(error)
    tool.release()
(folder / "said.json").write_text(json.dumps(said))  # the toolkit has the last word on the terminal
"""
CASES_OF_ALL = {case.name: case for case in (*CASES, TWO_ENDS)}
FAULTS = {"pad": "assignment destination is read-only", "two_inputs_and_outputs": "s_dup"}
"""What rknn-toolkit2 2.5.0 itself fails at, and the words of its exception."""
MOST_LSB = 32
LEAST_WITHIN_ONE = 0.6


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Build and simulate every case, one sample each."""
    folder = tmp_path_factory.mktemp("rknn")
    profile = catalog.load("rockchip-rknn")
    made: dict[str, tuple[Prepared, Payload]] = {}
    for name, case in CASES_OF_ALL.items():
        prepared = prepare(case, tmp_path_factory.mktemp(name), profile)
        payload = prepared.lower()
        (folder / f"{name}.onnx").write_bytes(payload.files["model.onnx"])
        for index, array in enumerate(to_payload(prepared.samples()[0], payload.inputs)):
            np.save(folder / f"{name}.in{index}.npy", array)
        made[name] = prepared, payload
    run_rknn("-c", PROGRAM, str(folder))
    said: dict[str, str] = json.loads((folder / "said.json").read_text())
    return folder, said, made


@pytest.mark.parametrize("name", [name for name in CASES_OF_ALL if name not in FAULTS])
def test_the_toolkit_builds_the_file_and_simulates_the_plan(name: str, ran: Ran) -> None:
    folder, said, made = ran
    assert said[name] == "ran"
    prepared, payload = made[name]
    arrays = [
        np.load(folder / f"{name}.out{index}.npy").reshape(tensor.shape)
        for index, tensor in enumerate(payload.outputs)
    ]
    expected = simulate(prepared.model, prepared.plan, prepared.samples()[0])
    for output, array in to_source(arrays, payload.outputs).items():
        qparams = prepared.plan.tensors[output].qparams
        distance = np.abs(array - expected[output]) / qparams.scale[0]
        assert distance.max() <= MOST_LSB
        assert np.mean(distance < 1.5) >= LEAST_WITHIN_ONE


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_toolkit_itself_fails_at_is_known(name: str, ran: Ran) -> None:
    assert FAULTS[name] in ran[1][name]


def test_efficientnet_is_built_and_says_what_the_float_network_says(tmp_path: Path) -> None:
    written = write_efficientnet(tmp_path, "rockchip-rknn")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "network.onnx").write_bytes(written.data)
    np.save(folder / "network.in0.npy", written.pictures[:1])
    run_rknn("-c", PROGRAM, str(folder))
    assert json.loads((folder / "said.json").read_text()) == {"network": "ran"}
    found = np.load(folder / "network.out0.npy").reshape(-1)
    assert found.argmax() == written.logits[0].argmax()
    assert sqnr_of(found, written.logits[0]) > 15.0
