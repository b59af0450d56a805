"""Keras and TensorFlow models come in: what they compute there they compute here; what cannot come in is refused in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from host_tools.cli.main import main
from host_tools.errors import EdgewrightError, InputError, ModelError, UnsupportedOperatorError
from host_tools.inspection.payload import inspect_payload
from host_tools.model import load
from host_tools.model.from_tensorflow.interpreter import VARIABLE
from host_tools.model.from_tensorflow.options import TensorFlowOptions
from host_tools.model.reference import FloatRunner
from tests.integration.environments import run_tensorflow, tensorflow_python

BUILDER = Path(__file__).with_name("tensorflow_models.py")
PICTURE = {"picture": (1, 16, 16, 3)}


class Models:
    """The folder of small models, what they compute, and the cache that the tests share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run_tensorflow(str(BUILDER), str(folder))
        with np.load(folder / "expected.npz") as file:
            self.expected = dict(file)

    def options(self, signature: str | None = None) -> TensorFlowOptions:
        return TensorFlowOptions(signature=signature, python=tensorflow_python(), cache=self.folder / "cache")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("tensorflow"))


@pytest.mark.parametrize(
    ("name", "shapes", "signature", "outputs"),
    [
        ("new.keras", PICTURE, None, {"classes": "new"}),
        ("old.h5", PICTURE, None, {"classes": "old"}),
        ("exported", PICTURE, None, {"output_0": "new"}),
        ("pair.keras", {"left": (1, 6), "right": (1, 6)}, None, {"total": "total", "bounded": "bounded"}),
        ("several", {"x": (1, 4)}, "down", {"lowered": "lowered"}),
        ("captured", {"x": (1, 4)}, None, {"crossed": "crossed"}),
    ],
)
def test_it_computes_what_keras_computes(name, shapes, signature, outputs, models):
    model = load(models.folder / name, shapes=shapes, tensorflow=models.options(signature))
    assert {spec.name: spec.shape for spec in model.inputs} == shapes
    assert [spec.name for spec in model.outputs] == list(outputs)
    assert "tf2onnx 1.17" in model.notes[0]
    runner = FloatRunner(model, threads=1)
    for index in range(4):
        found = runner.run({key: models.expected[key][index : index + 1] for key in shapes})
        for output, expected in outputs.items():
            np.testing.assert_allclose(
                found[output], models.expected[expected][index : index + 1], rtol=1e-5, atol=2e-6
            )


def test_a_keras_cnn_reaches_tflite_without_a_transpose(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, tensorflow_python())
    rng = np.random.default_rng(0)
    np.save(tmp_path / "calib.npy", rng.uniform(-1.0, 1.0, (16, 16, 16, 3)).astype(np.float32))
    arguments = [
        "--data",
        str(tmp_path / "calib.npy"),
        "--shape",
        "picture=1,16,16,3",
        "--min-agreement",
        "0",
    ]
    arguments += ["--target", "cortex-a-tflite", "--method", "minmax", "--no-latency", "--no-diagnose"]
    arguments += ["--cache", str(models.folder / "cache"), "--out", str(tmp_path / "out")]
    assert main(["convert", str(models.folder / "new.keras"), *arguments]) == 0
    told = capsys.readouterr()
    assert "a .keras archive" in told.err
    payload = inspect_payload(tmp_path / "out" / "cortex-a-tflite" / "model.tflite")
    kinds = set(payload.operators)
    assert "CONV_2D" in kinds
    assert "TRANSPOSE" not in kinds
    assert not {"tensorflow", "keras", "tf2onnx"} & set(sys.modules)


def test_inspect_takes_it_and_the_second_time_tensorflow_is_not_started(
    models, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    renamed = shutil.copy(models.folder / "pair.keras", tmp_path / "renamed.bin")
    command = ["inspect", str(renamed), "--json", "--tensorflow-python", tensorflow_python()]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in first["inputs"]] == ["right", "left"]
    (kept,) = (tmp_path / "cache" / "edgewright" / "onnx").glob("*.onnx")
    written = kept.stat().st_mtime_ns
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("several", InputError, "it has several signatures: down, up. Choose one by --signature."),
        ("unsigned", ModelError, "it has no signature"),
        ("until", UnsupportedOperatorError, "control flow that depends on the data"),
        ("decomposed", UnsupportedOperatorError, "TensorFlow's Cholesky"),
        ("python", UnsupportedOperatorError, "EagerPyFunc"),
        ("lambda.keras", ModelError, "layer 'lambda' is Python code in the file"),
        ("lambda.h5", ModelError, "layer 'lambda' is Python code in the file"),
        ("custom.keras", ModelError, "ours>Doubling, which is not a part of Keras"),
        ("only.weights.h5", ModelError, "it holds weights only"),
        ("linked.h5", ModelError, "is a link to somewhere else"),
        ("vast.h5", ModelError, "claim 8,796,093,022,208 bytes"),
    ],
)
def test_what_cannot_come_in_is_one_sentence(name, kind, said, models):
    with pytest.raises(EdgewrightError) as caught:
        load(models.folder / name, tensorflow=models.options())
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert caught.value.hint
    assert not (models.folder / "ran").exists()


def test_a_wrong_signature_is_told_with_those_there_are(models):
    with pytest.raises(InputError, match="no signature 'sideways', but: down, up"):
        load(models.folder / "several", tensorflow=models.options("sideways"))


def test_what_was_cut_short_is_one_sentence(models, tmp_path):
    for name, share in (("new.keras", 0.9), ("old.h5", 0.5), ("old.h5", 0.02)):
        torn = tmp_path / name
        torn.write_bytes(
            (models.folder / name).read_bytes()[: int(share * (models.folder / name).stat().st_size)]
        )
        with pytest.raises(ModelError, match=r"cut short|damaged"):
            load(torn, tensorflow=models.options())
    for folder, file, size in (
        ("graph", "saved_model.pb", 1000),
        ("weights", "variables/variables.data-00000-of-00001", 10),
    ):
        shutil.copytree(models.folder / "exported", tmp_path / folder)
        torn = tmp_path / folder / file
        torn.write_bytes(torn.read_bytes()[:size])
        with pytest.raises(ModelError, match="cut short"):
            load(tmp_path / folder, tensorflow=models.options())
    claims = bytearray((models.folder / "new.keras").read_bytes())
    at = claims.rindex(b"PK\x01\x02") + 24  # the uncompressed size, in the table of contents
    claims[at : at + 4] = (0xF0000000).to_bytes(4, "little")
    (tmp_path / "vast.keras").write_bytes(claims)
    with pytest.raises(ModelError, match="its members claim"):
        load(tmp_path / "vast.keras", tensorflow=models.options())
    with zipfile.ZipFile(tmp_path / "text.keras", "w") as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, "{" * 10)
    with pytest.raises(ModelError, match=r"config\.json is no JSON"):
        load(tmp_path / "text.keras", tensorflow=models.options())


def test_the_converters_own_process_never_has_tensorflow():
    code = "import sys, host_tools.pipeline; print(sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'tf_keras', 'tf2onnx', 'h5py'}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
