"""Every operator written for Qualcomm's HTP, run by Qualcomm's own library: the HTP in software, on this processor, with no fall-back.

The HTP computes in fixed point of its own: outputs are near the plan's, not equal to them, and a code becomes many behind the next Conv.
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
from tests.integration.environments import run_qnn

if TYPE_CHECKING:
    from pathlib import Path

    from lowering_template import Prepared

    from host_tools.lower.payload import Payload

    Ran = tuple[Path, dict[str, str], dict[str, tuple[Prepared, Payload]]]

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
import onnxruntime, onnxruntime_qnn as qnn

onnxruntime.register_execution_provider_library(qnn.EP_NAME, qnn.get_library_path())
devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == qnn.EP_NAME]
folder, said = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.onnx")):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices, {"backend_path": qnn.get_qnn_htp_path(), "htp_arch": "75", "soc_model": "0"})
    try:
        session = onnxruntime.InferenceSession(str(path), options)
        feeds = {one.name: np.load(folder / f"{path.stem}.{one.name}.in.npy") for one in session.get_inputs()}
        for one, array in zip(session.get_outputs(), session.run(None, feeds)):
            np.save(folder / f"{path.stem}.{one.name}.out.npy", array)
        said[path.stem] = "ran"
    except Exception as error:
        said[path.stem] = str(error)
    print(json.dumps(said), flush=True)
"""
CASES_OF_ALL = {case.name: case for case in (*CASES, TWO_ENDS)}
MOST_LSB = 16
LEAST_WITHIN_ONE = 0.8


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run every case, one sample each."""
    folder = tmp_path_factory.mktemp("htp")
    profile = catalog.load("qualcomm-htp")
    made: dict[str, tuple[Prepared, Payload]] = {}
    for name, case in CASES_OF_ALL.items():
        prepared = prepare(case, tmp_path_factory.mktemp(name), profile)
        payload = prepared.lower()
        (folder / f"{name}.onnx").write_bytes(payload.files["model.onnx"])
        for tensor, array in zip(
            payload.inputs, to_payload(prepared.samples()[0], payload.inputs), strict=True
        ):
            np.save(folder / f"{name}.{tensor.name}.in.npy", array)
        made[name] = prepared, payload
    said: dict[str, str] = json.loads(run_qnn("-c", PROGRAM, str(folder)).splitlines()[-1])
    return folder, said, made


@pytest.mark.parametrize("name", CASES_OF_ALL)
def test_the_htp_takes_the_whole_file_and_computes_the_plan(name: str, ran: Ran) -> None:
    folder, said, made = ran
    assert said[name] == "ran"
    prepared, payload = made[name]
    arrays = [np.load(folder / f"{name}.{tensor.name}.out.npy") for tensor in payload.outputs]
    expected = simulate(prepared.model, prepared.plan, prepared.samples()[0])
    for output, array in to_source(arrays, payload.outputs).items():
        distance = np.abs(array - expected[output]) / prepared.plan.tensors[output].qparams.scale[0]
        assert distance.max() <= MOST_LSB
        assert np.mean(distance < 1.5) >= LEAST_WITHIN_ONE


def test_efficientnet_runs_whole_and_says_what_the_float_network_says(tmp_path: Path) -> None:
    written = write_efficientnet(tmp_path, "qualcomm-htp")
    (tmp_path / "files").mkdir()
    for index, picture in enumerate(written.pictures):
        (tmp_path / "files" / f"network{index}.onnx").write_bytes(written.data)
        np.save(tmp_path / "files" / f"network{index}.images.in.npy", picture[np.newaxis])
    said = json.loads(run_qnn("-c", PROGRAM, str(tmp_path / "files")).splitlines()[-1])
    assert said == {"network0": "ran", "network1": "ran"}
    for index, logits in enumerate(written.logits):
        found = np.load(tmp_path / "files" / f"network{index}.logits.out.npy")[0]
        assert found.argmax() == logits.argmax()
        assert sqnr_of(found, logits) > 18.0
