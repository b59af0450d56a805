"""What a command cannot read, write or combine: exit status, and one line that names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from host_tools.cli.main import main
from host_tools.errors import InputError
from host_tools.pipeline import convert
from tests.e2e.small_network import write_network
from tests.unit.host_tools.review.canned_broker import WELCOME, answering, message

ROOT = Path(__file__).parents[4]


def said(capsys: pytest.CaptureFixture[str], status: int, *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgewright: ")
    return line


def test_method_beside_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("m.onnx", "--data", "d", "--target", "nxp-neutron", "--out", tmp_path, "--method", "mse")
    line = said(capsys, 2, "convert", *arguments, "--recipe", tmp_path / "recipe.toml")
    assert "--method and --recipe exclude each other. Write the method into the recipe." in line


def test_labels_without_evaluation_data(tmp_path: Path) -> None:
    write_network(tmp_path / "small.onnx")
    np.save(tmp_path / "data.npy", np.zeros((1, 3, 16, 16), np.float32))
    with pytest.raises(InputError, match="--labels needs --eval: labels belong to evaluation data") as caught:
        convert(
            tmp_path / "small.onnx",
            data=tmp_path / "data.npy",
            targets=("nxp-neutron",),
            out=tmp_path / "out",
            labels=tmp_path / "labels.txt",
        )
    assert caught.value.hint == "Add --eval DATA."


def test_a_new_target_of_a_wrong_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = said(capsys, 2, "targets", "new", "Not An Id", "--out", tmp_path / "x.toml")
    assert "Not An Id.toml: id: expected lower case letters" in line
    assert not list(tmp_path.iterdir())


def test_a_new_target_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "absent" / "mine.toml"
    line = said(capsys, 7, "targets", "new", "mine", "--out", path)
    assert line == f"edgewright: {path}: No such file or directory. Choose another --out."


def test_a_recording_of_other_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.jsonl").write_text('{"received": 1, "topic": "other/root", "payload": ""}\n')
    line = said(capsys, 2, "report", "--from", tmp_path / "other.jsonl", "--out", tmp_path / "page.html")
    assert "other.jsonl: no telemetry below 'ew/v1'. Is an agent running" in line
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("record", "reason"), [("absent/today.jsonl", "No such file"), ("/dev/full", "No space left on device")]
)
def test_a_recording_that_cannot_be_written(
    record: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(WELCOME + message("ew/v1/device/event", b"{}")) as port:
        path = tmp_path / record
        arguments = ("watch", f"mqtt://127.0.0.1:{port}", "--seconds", "10", "--json", "--record", path)
        line = said(capsys, 7, *arguments)
    assert line.startswith(f"edgewright: {path}: {reason}")
    assert line.endswith("Choose another --record FILE.")


def test_standard_output_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "host_tools", "targets", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    assert done.returncode == 7
    assert done.stderr == "edgewright: standard output: No space left on device.\n"
