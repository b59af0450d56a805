"""The other two libraries behind the engine `tflite`: tflite-runtime 2.14 under NumPy 1, which old boards run, and TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from device_agent.contract.archive import ArtifactArchive
from host_tools import convert
from host_tools.recipe import Recipe
from tests.e2e.small_network import samples, write_network
from tests.integration.environments import REPOSITORY, run_legacy, run_tensorflow
from tests.integration.support import write_config
from tests.unit.device_agent.engines import payloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TARGET = "cortex-a-tflite-legacy"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(run_legacy, "tflite-runtime 2.14.0", id="tflite-runtime"),
        pytest.param(run_tensorflow, "tensorflow 2.21.0", id="tensorflow"),
    ],
)
def test_the_library_passes_the_engine_template(
    tmp_path: Path, run: Callable[..., str], expected: str
) -> None:
    for name, files in (
        ("float", payloads.tflite_float()),
        ("int8", payloads.tflite_int8()),
        ("open", payloads.tflite_float(is_open=True)),
    ):
        (tmp_path / f"{name}.tflite").write_bytes(files["model.tflite"])
    said = run("-m", "tests.unit.device_agent.engines.engine_template", str(tmp_path))
    assert said.splitlines()[-1] == expected


def test_frames_become_the_same_codes_under_numpy_1() -> None:
    """NumPy 1 divides a float32 array by a float in float32; a code at the rounding edge would then differ from the host's."""
    program = """
import numpy as np
from device_agent.contract.manifest import PayloadTensor
from device_agent.sources.adapt import to_payload
scale = 0.018658448
edges = ((np.arange(-113, 140) + 0.5) * scale).astype(np.float32)
values = np.concatenate([np.nextafter(edges, np.float32(-9)), edges, np.nextafter(edges, np.float32(9))])[None]
tensor = PayloadTensor(name="x", shape=values.shape, dtype="int8", scale=scale, zero_point=-14, source_name="x", source_axes=(0, 1))
codes = to_payload({"x": values}, [tensor])[0]
print(np.__version__.split(".")[0], int(codes[0].astype(np.int64) @ np.arange(codes.size) ** 2))
"""
    legacy = run_legacy("-c", program).split()
    here = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout.split()
    assert (legacy[0], here[0]) == ("1", "2")
    assert legacy[1] == here[1]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network, converted for the legacy target."""
    return converted(tmp_path_factory.mktemp("legacy"), TARGET)


def converted(folder: Path, target: str) -> Path:
    np.save(folder / "calibration.npy", samples(24))
    done = convert(
        write_network(folder / "small.onnx"),
        data=folder / "calibration.npy",
        targets=[target],
        out=folder / "out",
        recipe=Recipe(method="minmax"),
        latency=False,
        threads=1,
        cache=folder / "cache",
    )
    return done.artifacts[target]


def configured(folder: Path, artifact: Path, **device: object) -> str:
    np.savez(folder / "frames.npz", images=samples(5, seed=9))
    source = {"kind": "replay", "path": str(folder / "frames.npz"), "rate_hz": 0.0}
    return str(
        write_config(
            folder,
            1,
            artifact,
            device={"targets": [TARGET], **device},
            source=source,
            mqtt={"enabled": False},
            results={"mqtt": False, "jsonl": str(folder / "results.jsonl"), "max_rate_hz": 0.0},
        )
    )


STARTUP = """
import json, sys
from pathlib import Path
import numpy as np
from device_agent.config import load_config
from device_agent.sources.adapt import to_payload, to_source
from device_agent.startup import load_payload, run_self_test, verify_artifact
archive = verify_artifact(load_config(Path(sys.argv[1])))
engine, _ = load_payload(archive, threads=1)
tested = run_self_test(archive, engine)
manifest = archive.manifest
outputs = [
    to_source(engine.infer(to_payload({"images": frame[None]}, manifest.inputs)), manifest.outputs)["logits"].tolist()
    for frame in np.load(sys.argv[2])["images"]
]
print(json.dumps({
    "library": [engine.library, engine.version],
    "samples": tested.samples,
    "largest_lsb": tested.largest_lsb,
    "smallest_equal_share": tested.smallest_equal_share,
    "outputs": outputs,
}))
"""


@pytest.mark.parametrize(
    ("run", "library"),
    [
        pytest.param(run_legacy, ["tflite-runtime", "2.14.0"], id="tflite-runtime"),
        pytest.param(run_tensorflow, ["tensorflow", "2.21.0"], id="tensorflow"),
    ],
)
def test_the_legacy_artifact_passes_the_agents_startup_checks(
    tmp_path: Path, artifact: Path, run: Callable[..., str], library: list[str]
) -> None:
    """Digest, target, engine and version; then the golden samples; and the same numbers as LiteRT gives here."""
    config = configured(tmp_path, artifact)
    arguments = ("-c", STARTUP, config, str(tmp_path / "frames.npz"))
    there = json.loads(run(*arguments))
    assert there["library"] == library
    manifest = ArtifactArchive.open(artifact).manifest
    assert there["samples"] == len(manifest.golden) > 0
    assert there["largest_lsb"] <= manifest.tolerance.max_lsb
    assert there["smallest_equal_share"] >= manifest.tolerance.min_share_within_one
    here = json.loads(
        subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=REPOSITORY
        ).stdout
    )
    assert here["library"][0] == "ai-edge-litert"
    (output,) = manifest.outputs
    step = output.scale
    assert step is not None
    np.testing.assert_allclose(there["outputs"], here["outputs"], atol=1.001 * step)
    assert np.ptp(np.asarray(here["outputs"]), axis=0).min() > 2 * step, "outputs that say something"


VERIFY = """
import sys
from pathlib import Path
from device_agent.config import load_config
from device_agent.contract.errors import IncompatibleError
from device_agent.startup import verify_artifact
try:
    verify_artifact(load_config(Path(sys.argv[1])))
except IncompatibleError as error:
    print(error)
"""


def test_an_artifact_of_another_target_is_refused_there_too(tmp_path: Path, artifact: Path) -> None:
    config = configured(tmp_path, artifact, targets=["cortex-a-tflite"])
    assert "is for target 'cortex-a-tflite-legacy'" in run_legacy("-c", VERIFY, config)


def test_an_artifact_for_todays_library_is_refused_by_the_old_one(tmp_path: Path) -> None:
    """Though 2.14 is a larger number than the 2.0 that is asked of ai-edge-litert: the libraries count apart."""
    artifact = converted(tmp_path, "cortex-a-tflite")
    said = run_legacy("-c", VERIFY, configured(tmp_path, artifact, targets=["cortex-a-tflite"]))
    assert (
        "needs ai-edge-litert 2.0 or newer, or tensorflow 2.21 or newer; tflite-runtime 2.14.0 is installed"
        in said
    )


def test_the_agent_runs_it_from_start_to_end(tmp_path: Path, artifact: Path) -> None:
    """As a process, without a broker: five frames of a replay, five results."""
    run_legacy("-m", "device_agent", "run", "--config", configured(tmp_path, artifact))
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert len(lines) == 5
    assert [json.loads(line)["frame"] for line in lines] == ["0", "1", "2", "3", "4"]
