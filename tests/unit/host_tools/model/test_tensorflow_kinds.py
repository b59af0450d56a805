"""What a path holds is told by its bytes; which Python reads it, and what it is asked, without TensorFlow."""

from __future__ import annotations

import json
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from host_tools.errors import InputError, ModelError, OutputError
from host_tools.model import load
from host_tools.model.from_tensorflow import kept
from host_tools.model.from_tensorflow.interpreter import VARIABLE, environment, interpreter, versions
from host_tools.model.from_tensorflow.kinds import kind_of
from host_tools.model.from_tensorflow.options import TensorFlowOptions

if TYPE_CHECKING:
    from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(64)


def archive(path: Path, *members: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in members:
            file.writestr(name, "{}")
    return path


def program(path: Path, body: str) -> str:
    """Return an interpreter that says it has everything, and then does as `body` says."""
    found = json.dumps({"tensorflow": "2.21.0", "tf2onnx": "1.17.0", "onnx": "1.23.2"})
    path.write_text(f"#!/bin/sh\ncase \"$3\" in tensorflow) echo '{found}';; *) {body};; esac\n")
    path.chmod(0o755)
    return str(path)


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "named.onnx").write_bytes(HDF5)
    (tmp_path / "torn.keras").write_bytes(b"PK\x03\x04" + bytes(40))
    (tmp_path / "torn.ewa").write_bytes(b"PK\x03\x04" + bytes(40))
    assert kind_of(tmp_path / "saved") == "saved_model"
    assert kind_of(tmp_path / "empty") is None
    assert kind_of(tmp_path / "named.onnx") == "h5"
    assert (
        kind_of(archive(tmp_path / "model.zip", "config.json", "metadata.json", "model.weights.h5"))
        == "keras"
    )
    assert kind_of(archive(tmp_path / "other.keras", "manifest.json")) is None
    assert kind_of(tmp_path / "torn.keras") == "keras"
    assert kind_of(tmp_path / "torn.ewa") is None
    assert kind_of(tmp_path / "absent.h5") is None


def test_a_signature_is_of_saved_models_alone(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(HDF5)
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    for name, what in (("net.h5", "a Keras .h5 file"), ("net.onnx", "which this is not")):
        with pytest.raises(ModelError, match="--signature is about SavedModels") as caught:
            load(tmp_path / name, tensorflow=TensorFlowOptions(signature="serve", cache=tmp_path))
        assert what in str(caught.value)


def test_without_tensorflow_the_next_step_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "net.h5").write_bytes(HDF5)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "net.h5", tensorflow=TensorFlowOptions(python=sys.executable, cache=tmp_path))
    told = str(caught.value)
    assert "needs tensorflow and tf2onnx" in told
    assert sys.executable in told
    assert "pip install 'edgewright[tensorflow]'" in told
    assert "--tensorflow-python" in told


def test_the_interpreter_is_the_one_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, other = program(tmp_path / "named", "true"), program(tmp_path / "other", "true")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert interpreter(None) == sys.executable
    monkeypatch.setenv(VARIABLE, other)
    assert interpreter(None) == other
    assert interpreter(named) == named
    for given, source in ((tmp_path / "absent", "--tensorflow-python"), (None, VARIABLE)):
        monkeypatch.setenv(VARIABLE, "no/such/python")
        with pytest.raises(InputError, match=source):
            interpreter(given)


def test_what_is_no_python_is_told(tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho hello\n")
    silent.chmod(0o755)
    with pytest.raises(InputError, match="could not be asked for TensorFlow"):
        versions(str(silent), needed_by="it")


def test_another_python_does_not_get_our_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    assert environment(sys.executable)["PYTHONPATH"] == "/ours"
    assert "PYTHONPATH" not in environment("/other/python")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("kill -9 $$", "was ended by SIGKILL"),
        ("echo 'terminate called' >&2; exit 3", r"ended with status 3 \(terminate called\)"),
        ("true", "ended with status 0"),
    ],
)
def test_a_child_that_dies_is_one_sentence(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(HDF5)
    options = TensorFlowOptions(python=program(tmp_path / "python", body), cache=tmp_path / "cache")
    with pytest.raises(
        ModelError, match=rf"net\.h5: TensorFlow {said} while it read a Keras \.h5 file"
    ) as caught:
        load(tmp_path / "net.h5", tensorflow=options)
    assert caught.value.hint
    assert not (tmp_path / "cache").exists()


def test_a_conversion_is_kept_whole_or_counts_as_absent(tmp_path: Path) -> None:
    told = {"kind": "h5", "signature": None, "shapes": {}, "versions": {"tensorflow": "2.21.0"}}
    key = kept.key_of("sha256:0", **told)
    changes = {
        "kind": "keras",
        "signature": "serve",
        "shapes": {"x": (1, 4)},
        "versions": {"tensorflow": "2.22.0"},
    }
    others = [kept.key_of("sha256:0", **{**told, name: value}) for name, value in changes.items()]
    assert len({key, kept.key_of("sha256:1", **told), *others}) == 6
    assert kept.find(tmp_path, key) is None
    made = kept.keep(tmp_path, key, onnx=b"content", made_with={"tf2onnx": "1.17.0"})
    assert kept.find(tmp_path, key) == made
    for damage in (b"conten", b""):
        made.onnx.write_bytes(damage)
        assert kept.find(tmp_path, key) is None
    made.onnx.write_bytes(b"content")
    for damaged in ("", "[]", "{}", '{"digest": "sha256:0", "made_with": 3}'):
        (tmp_path / f"{key}.onnx.json").write_text(damaged)
        assert kept.find(tmp_path, key) is None


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OutputError, match="taken"):
        kept.keep(tmp_path / "taken", "key", onnx=b"", made_with={})
