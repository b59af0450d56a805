"""The command `edgewright` in this process: parsing, exit status, errors as one line."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from device_agent.contract.errors import (
    ContractError,
    DeviceError,
    DigestMismatchError,
    EdgewrightError,
    EngineError,
    StorageError,
    TransferError,
)
from host_tools.cli import main as main_module
from host_tools.cli.arguments import count
from host_tools.cli.main import exit_status, main
from host_tools.cli.shapes import parse_constants, parse_shapes
from host_tools.errors import (
    CapabilityError,
    DataError,
    InputError,
    InternalError,
    LoweringError,
    NothingHeardError,
    OutputError,
    VerificationError,
)
from host_tools.pack.null_artifact import write_null_artifact
from host_tools.recipe import Recipe
from host_tools.recipe_agreement import require_agreement
from host_tools.recipe_values import RecipeError
from host_tools.review.reports.status import NOT_ENOUGH, WORSE
from targets import catalog

ROOT = Path(__file__).parents[4]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "host_tools", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 2),
        (DataError("x"), 2),
        (ContractError("x"), 2),
        (CapabilityError("x"), 3),
        (LoweringError("x"), 3),
        (VerificationError("x"), 4),
        (DigestMismatchError("x"), 5),
        (TransferError("x"), 6),
        (OutputError("x"), 7),
        (EngineError("x"), 7),
        (StorageError("x"), 7),
        (DeviceError("x"), 7),
        (NothingHeardError("x"), 3),
        (InternalError("x"), 70),
        (EdgewrightError("x"), 70),
    ],
)
def test_exit_status_says_who_can_act(error: EdgewrightError, status: int) -> None:
    assert exit_status(error) == status


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "edgewright convert model.onnx" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["convert", "batch", "targets", "inspect", "diff", "watch", "report"])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"edgewright {command}" in capsys.readouterr().out.split("example", 1)[1]


def test_a_value_of_two_dashes_is_told_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["repository", "init", "fleet", "--keys=--"])
    assert refused.value.code == 2
    assert "argument --keys: expected a value, got '--'" in capsys.readouterr().err


def test_help_loads_no_engine() -> None:
    code = (
        "import sys; from host_tools.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "print([name for name in ('numpy', 'onnx', 'onnxruntime', 'openvino', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_targets_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(catalog.ids())


def test_targets_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list", "--json"]) == 0
    assert [entry["id"] for entry in json.loads(capsys.readouterr().out)] == list(catalog.ids())


def test_targets_show_gives_a_source_for_every_fact(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "cortex-a-tflite", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts
    assert all(fact["source"] for fact in facts)


def test_targets_show_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "nxp-neutron"]) == 0
    assert "weights.per_channel_ops" in capsys.readouterr().out


def test_a_new_target_loads_and_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    assert main(["targets", "new", "mine", "--based-on", "nxp-neutron", "--out", str(path)]) == 0
    assert main(["targets", "show", str(path)]) == 0
    written = path.read_bytes()
    assert main(["targets", "new", "mine", "--out", str(path)]) == 7
    assert "exists already" in capsys.readouterr().err
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    "arguments", [("new", "Not An Id"), ("new", "mine", "--based-on", "nothing"), ("show", "nothing")]
)
def test_wrong_targets_are_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run("targets", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("edgewright: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_error_as_json_has_code_message_and_hint(tmp_path: Path) -> None:
    done = run("inspect", "none.ewa", "--json", cwd=tmp_path)
    assert done.returncode == 7
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "storage"
    assert "none.ewa" in error["message"]


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = (
        f"{sys.executable} -m host_tools targets show cortex-a-tflite | head -1; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert done.stderr == ""


def test_shapes_are_read() -> None:
    assert parse_shapes(["a=1,3,224,224", "b:0=7"]) == {"a": (1, 3, 224, 224), "b:0": (7,)}


@pytest.mark.parametrize("text", ["a", "a=", "=1,2", "a=1,x", "a=0", "a=1,-2"])
def test_wrong_shapes_are_named(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME=1,3,224,224"):
        parse_shapes([text])


@pytest.mark.parametrize("text", ["x=99999999999999999999,3", "x=1,3,9999999999,9999999999"])
def test_a_shape_beyond_an_int64_is_told_as_the_options_fault(text: str) -> None:
    with pytest.raises(InputError, match="--shape: expected at most 9223372036854775807 elements"):
        parse_shapes([text])


def test_an_input_that_is_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match="--shape names 'x' twice"):
        parse_shapes(["x=1,3", "x=1,4"])
    with pytest.raises(InputError, match="--constant names 'x' twice"):
        parse_constants(["x=1", "x=1"])


def test_a_count_that_is_too_large_is_told_its_bound() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1, at most 999999999, got '99999999999'"):
        count("99999999999")


@pytest.mark.parametrize("asked", [{"rounding": "gptq"}, {"scaling": "awq"}])
def test_advice_about_int8_is_for_int8_alone(asked: dict[str, str]) -> None:
    with pytest.raises(RecipeError) as refusal:
        require_agreement(Recipe(**{"precision": "weights-kmeans4", **asked}), where="options")  # type: ignore[arg-type]
    assert "int8 has" not in str(refusal.value)
    assert "int8 reconstructs" not in str(refusal.value)


def test_constants_are_parsed() -> None:
    assert parse_constants(["sr=16000", "a=b=1,0.5,-2e3"]) == {"sr": (16000,), "a=b": (1, 0.5, -2000.0)}
    assert isinstance(parse_constants(["sr=9007199254740993"])["sr"][0], int)


@pytest.mark.parametrize(
    "text", ["", "sr", "sr=", "=1", "sr=x", "sr=1,", "sr=nan", "sr=1e999", f"sr={'9' * 400}"]
)
def test_wrong_constants_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--constant: expected NAME=16000"):
        parse_constants([text])


@pytest.mark.parametrize(
    "argument", [("--limit", "0"), ("--limit", "x"), ("--min-agreement", "1.5"), ("--threads", "-1")]
)
def test_wrong_numbers_are_refused_by_the_parser(
    argument: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", "m.onnx", "--data", "d", "--out", "o", *argument])
    assert ended.value.code == 2
    assert argument[0] in capsys.readouterr().err


def test_method_and_recipe_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('method = "mse"\n')
    done = run(
        "convert",
        "m.onnx",
        "--data",
        "d",
        "--out",
        "o",
        "--method",
        "mse",
        "--recipe",
        "recipe.toml",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


def test_no_target_is_asked_for(tmp_path: Path) -> None:
    done = run("convert", "m.onnx", "--data", "d", "--out", "o", cwd=tmp_path)
    assert done.returncode == 2
    assert "--target" in done.stderr


def test_report_from_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    done = run("report", "--from", "empty.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "no telemetry" in done.stderr


@pytest.mark.parametrize(
    "command", [("watch", "mqtt://127.0.0.1:1"), ("report", "--from", "mqtt://127.0.0.1:1")]
)
def test_a_broker_that_is_not_there(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 6
    assert "cannot connect" in done.stderr


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("duckdb", ["review", "weekly", "--store", "a.duckdb"], "review"),
        ("pyarrow", ["ingest", "--broker", "mqtt://localhost", "--store", "a.duckdb"], "review"),
        ("prometheus_client", ["ingest", "--broker", "mqtt://localhost", "--store", "a.duckdb"], "review"),
        ("rich", ["review", "weekly", "--store", "a.duckdb"], "host"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(
    package: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    (tmp_path / "a.duckdb").touch()
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module', name={package!r})")
    environment = {**os.environ, "PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "host_tools", *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 2
    assert f"needs the package {package!r}" in done.stderr
    assert f"pip install 'edgewright[{extra}]'" in done.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_a_fault_of_ours_is_no_answer_and_leaves_its_trace_in_a_file(tmp_path: Path, as_json: bool) -> None:
    """1 says of artifact B that it is worse: a crash must not."""
    (tmp_path / "a.duckdb").touch()
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "duckdb.py").write_text("raise KeyError('\\x1b[2Jboom')")
    environment = {**os.environ, "PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "host_tools", "review", "compare", "aaaa", "bbbb", "--store", "a.duckdb"]
    done = subprocess.run(
        [*command, *(["--json"] if as_json else [])],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == 70
    assert len(done.stderr.splitlines()) == 1
    assert "KeyError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    (trace,) = tmp_path.glob("edgewright-fault-*.txt")
    assert str(trace) in done.stderr
    assert "Traceback" in trace.read_text(encoding="utf-8")
    if as_json:
        assert json.loads(done.stdout)["error"]["code"] == "internal"


@pytest.mark.parametrize(
    "table",
    [
        '[sound]\nsample_rate = 16000\nduration = 1.0\nlayout = ["batch", "time"]\n',
        '[text]\ntokenizer = "t.json"\nlength = 4\nids = "x"\n',
    ],
)
def test_a_key_of_a_declaration_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    declared = tmp_path / "preprocess.toml"
    declared.write_text(table + '"\\u001b[2J\\u009b2Jkey" = 1\n', encoding="utf-8")
    model = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "relu.onnx")
    command = ["convert", str(tmp_path / "relu.onnx"), "--data", str(tmp_path), "--preprocess", str(declared)]
    assert main([*command, "--target", "x86_64-onnxruntime", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "\\x1b[2J\\x9b2Jkey" in said
    assert "\x1b" not in said
    assert "\x9b" not in said


@pytest.mark.parametrize("as_json", [False, True])
def test_an_artifact_of_strangers_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    path = tmp_path / "a.ewa"
    write_null_artifact(path, {}, name="a", version="1", made_with={"tool": "\x1b[2J\x9b2Jone"})
    assert main(["inspect", str(path), *(["--json"] if as_json else [])]) == 0
    said = capsys.readouterr().out
    assert "[2J" in said
    assert "\x1b" not in said
    assert "\x9b" not in said
    if as_json:
        assert json.loads(said)["manifest"]["made_with"] == {"tool": "\x1b[2J\x9b2Jone"}


def test_every_status_stands_in_the_documents_and_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    statuses = {status for _, status in main_module._STATUS} | {0, WORSE, NOT_ENOUGH, 130, 143}
    review = (ROOT / "docs" / "review.md").read_text(encoding="utf-8").partition("| exit status |")[2]
    rows = review.partition("\n\n")[0].splitlines()[2:]
    told = {int(one) for row in rows for one in row.split("|")[1].split(",")}
    assert told == statuses - {4, 5}, "a review verifies and trusts nothing"
    for command in ([], ["review"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        shown = capsys.readouterr().out.partition("exit status")[2]
        listed = {int(one) for one in re.findall(r"(?:^| {2})(\d+) {2}[a-z]", shown, re.MULTILINE)}
        assert listed == (statuses - {WORSE} if not command else statuses - {4, 5, 130, 143})
