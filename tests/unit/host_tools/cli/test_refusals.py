"""What a command cannot read, write or combine: exit status, and one line that names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from PIL import Image

from device_agent.contract.errors import EdgewrightError
from host_tools.cli.main import main
from host_tools.errors import CapabilityError, InputError
from host_tools.pipeline import convert
from tests.e2e.small_network import samples, write_network
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


@pytest.fixture
def network(tmp_path: Path) -> Path:
    np.save(tmp_path / "data.npy", samples(2))
    return write_network(tmp_path / "small.onnx")


def refusal(network: Path, kind: type[EdgewrightError], **options: object) -> str:
    """Convert with these options; return why not."""
    folder = network.parent
    given = {"data": folder / "data.npy", "targets": ("nxp-neutron",), "out": folder / "out", **options}
    with pytest.raises(kind) as caught:
        convert(network, cache=folder / "cache", **given)  # type: ignore[arg-type]  # what convert takes
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"labels": "labels.txt"},
            "--labels needs --eval: labels belong to evaluation data. Add --eval DATA.",
        ),
        (
            {"metric": "m:f"},
            "--metric needs --labels: it rates outputs against the label of their sample. Add",
        ),
        ({"threads": 0}, "--threads: expected 1 to "),
        ({"threads": 99999}, "cores, got 99999."),
        ({"version": "1/2"}, "'1/2'"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, object], said: str, network: Path) -> None:
    assert said in refusal(network, InputError, **options)
    assert not (network.parent / "out").exists()


def test_pictures_that_are_prepared_in_two_ways(network: Path) -> None:
    for folder, order in (("data", "RGB"), ("eval", "BGR")):
        (network.parent / folder).mkdir()
        Image.new("RGB", (16, 16)).save(network.parent / folder / "a.png")
        (network.parent / folder / "preprocess.toml").write_text(
            f'[preprocess]\nresize = [16, 16]\nresample = "bilinear"\ncolor = "{order}"\nlayout = "NCHW"\n'
            "mean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\n"
        )
    said = refusal(network, InputError, data=network.parent / "data", evaluation=network.parent / "eval")
    assert f"{network.parent / 'eval'}: its preprocess.toml and that of --data differ." in said


def test_a_model_that_none_of_the_targets_can_run(network: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[1,3,16,16] images) => (float[1,3,16,16] y) { y = Atan(images) }'
    )
    network.write_bytes(proto.SerializeToString())
    said = refusal(network, CapabilityError, targets=("cortex-a-tflite", "nxp-neutron"), latency=False)
    first, *reasons = said.splitlines()
    assert first == "none of the targets can do what the model needs:"
    assert [line.split()[0] for line in reasons] == ["cortex-a-tflite:", "nxp-neutron:"]
    assert all("Atan 'Atan_y'" in line for line in reasons)


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("watch", "mqtt://localhost", "--seconds", "-1"), "--seconds: expected a number of at least 0, got '-1'"),
        (("watch", "mqtt://localhost", "--seconds", "inf"), "--seconds: expected a finite number, got 'inf'"),
        (("convert", "m.onnx", "--min-sqnr", "nan"), "--min-sqnr: expected a finite number, got 'nan'"),
        (("convert", "m.onnx", "--budget-minutes", "0"), "--budget-minutes: expected a number of minutes above 0 and at most 43200, got '0'"),
        (("convert", "m.onnx", "--budget-minutes", "-3"), "--budget-minutes: expected a number of minutes above 0"),
        (("convert", "m.onnx", "--budget-minutes", "1e9"), "--budget-minutes: expected a number of minutes above 0"),
        (("convert", "m.onnx", "--budget-minutes", "nan"), "--budget-minutes: expected a finite number, got 'nan'"),
        (("convert", "m.onnx", "--budget-minutes", "soon"), "--budget-minutes: expected a finite number, got 'soon'"),
        (("convert", "m.onnx", "--method", "best"), "invalid choice: 'best'"),
        (("convert", "m.onnx", "--min-sqnr", "x"), "--min-sqnr: expected a finite number, got 'x'"),
    ],
)  # fmt: skip
def test_numbers_that_are_none(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
