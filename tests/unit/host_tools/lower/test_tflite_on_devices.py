"""Every operator written for microcontrollers, judged by what stands for them: TFLM's own interpreter, and Arm's compiler for Ethos-U."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from lowering_cases import CASES, TWO_ENDS
from lowering_template import prepare
from plan_simulation import simulate

from device_agent.sources.adapt import to_payload, to_source
from targets import catalog
from tests.integration.environments import run_tflite_micro, vela

if TYPE_CHECKING:
    from pathlib import Path

    from lowering_template import Prepared

    from host_tools.lower.payload import Payload

TFLM = """
import json, sys
from pathlib import Path
import numpy as np
from tflite_micro.python.tflite_micro import runtime

folder, said = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.tflite")):
    try:
        engine = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=1 << 20)
        for index, file in enumerate(sorted(folder.glob(f"{path.stem}.in*.npy"))):
            engine.set_input(np.load(file), index)
        engine.invoke()
        for index in range(int((folder / f"{path.stem}.outputs").read_text())):
            np.save(folder / f"{path.stem}.out{index}.npy", engine.get_output(index))
        said[path.stem] = "ran"
    except Exception as error:
        said[path.stem] = str(error)
print(json.dumps(said))
"""
AMPLIFIED = {"average_pool": 12, "average_pool_padded": 12, "relu_bound_per_channel": 12}
"""Cases of which a code's error becomes many behind the next Conv; what the kernels do is told in ``test_tflite_template.py``."""
CASES_OF_ALL = {case.name: case for case in (*CASES, TWO_ENDS)}
ACCELERATORS = {"ethos-u55": "ethos-u55-128", "ethos-u85": "ethos-u85-256"}
IN_FLOAT = {"div", "hard_sigmoid"}


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, str], dict[str, tuple[Prepared, Payload]]]:
    """Run every case through TFLM, one sample each."""
    folder = tmp_path_factory.mktemp("tflm")
    profile = catalog.load("cortex-m-tflm")
    made: dict[str, tuple[Prepared, Payload]] = {}
    for name, case in CASES_OF_ALL.items():
        prepared = prepare(case, tmp_path_factory.mktemp(name), profile)
        payload = prepared.lower()
        (folder / f"{name}.tflite").write_bytes(payload.files["model.tflite"])
        for index, array in enumerate(to_payload(prepared.samples()[0], payload.inputs)):
            np.save(folder / f"{name}.in{index}.npy", array)
        (folder / f"{name}.outputs").write_text(str(len(payload.outputs)))
        made[name] = prepared, payload
    said: dict[str, str] = json.loads(run_tflite_micro("-c", TFLM, str(folder)).splitlines()[-1])
    return folder, said, made


@pytest.mark.parametrize("name", CASES_OF_ALL)
def test_tflite_micro_computes_the_plan(
    name: str, ran: tuple[Path, dict[str, str], dict[str, tuple[Prepared, Payload]]]
) -> None:
    folder, said, made = ran
    assert said[name] == "ran"
    prepared, payload = made[name]
    arrays = [np.load(folder / f"{name}.out{index}.npy") for index in range(len(payload.outputs))]
    found = to_source(arrays, payload.outputs)
    expected = simulate(prepared.model, prepared.plan, prepared.samples()[0])
    limit = AMPLIFIED.get(name, prepared.profile.parity.max_lsb)
    for output, array in found.items():
        distance = np.abs(array - expected[output]) / prepared.plan.tensors[output].qparams.scale[0]
        assert distance.max() <= limit + 0.01


@pytest.mark.parametrize("target", ACCELERATORS)
@pytest.mark.parametrize("name", CASES_OF_ALL)
def test_vela_leaves_nothing_to_the_cpu_but_what_the_plan_has_in_float(
    name: str, target: str, tmp_path: Path
) -> None:
    prepared = prepare(CASES_OF_ALL[name], tmp_path, catalog.load(target))
    assert {node.precision for node in prepared.plan.nodes.values()} == {"int8"} | (
        {"float32"} if name in IN_FLOAT else set()
    )
    file = tmp_path / f"{name}.tflite"
    file.write_bytes(prepared.lower().files["model.tflite"])
    command = [
        vela(),
        str(file),
        "--accelerator-config",
        ACCELERATORS[target],
        "--output-dir",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    left = re.search(r"^CPU operators = (\d+) \(", done.stdout, re.MULTILINE)
    assert left is not None, done.stdout
    assert (int(left[1]) > 0) == (name in IN_FLOAT)
