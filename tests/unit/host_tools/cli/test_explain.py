"""`edgewright explain` on what a conversion left, in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from host_tools.cli.main import main
from host_tools.pipeline import convert
from host_tools.recipe import Recipe
from tests.e2e.small_network import samples, write_network

TARGETS = ("nxp-neutron", "x86_64-onnxruntime")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of a conversion whose depthwise weights have one channel far larger than the others, with nothing done about it."""
    folder = tmp_path_factory.mktemp("explain")
    model = onnx.load(write_network(folder / "small.onnx"))
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            array = numpy_helper.to_array(tensor).copy()
            array[3] *= 1000
            tensor.CopyFrom(numpy_helper.from_array(array, "w1"))
    onnx.save(model, folder / "small.onnx")
    np.save(folder / "data.npy", samples(8))
    np.save(folder / "labels.npy", np.arange(8))
    convert(
        folder / "small.onnx",
        data=folder / "data.npy",
        evaluation=folder / "data.npy",
        labels=folder / "labels.npy",
        targets=TARGETS,
        out=folder / "out",
        latency=False,
        threads=1,
        cache=folder / "cache",
        recipe=Recipe(equalization=False, reconstruction=False),
    )
    return folder / "out"


@pytest.fixture
def out(converted: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may break."""
    return Path(shutil.copytree(converted, tmp_path / "out"))


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["explain", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["explain", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_guilty_layer_stands_first_with_a_reason_and_a_recipe(
    converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = explained(capsys, converted, "--target", "nxp-neutron")
    lines = text.splitlines()
    first = next(line for line in lines if line.startswith(" 1 "))
    assert "depthwise" in first
    assert "One scale for 8 channels of weights: 7 of them span less than an" in text
    assert "[keep_float]" in text
    assert '"depthwise",' in text
    assert "Worst of 8 samples" in text


@pytest.mark.parametrize(("count", "rest"), [(1, ""), (5, ""), (7, "2 more notes are in report.html.")])
def test_what_the_conversion_noted_stands_before_the_layers(
    out: Path, capsys: pytest.CaptureFixture[str], count: int, rest: str
) -> None:
    """A damaged sample, say, that sets every scale: no layer is to blame for it."""
    report = json.loads((out / "report.json").read_text())
    (target,) = (one for one in report["targets"] if one["target"] == "nxp-neutron")
    target["warnings"] = [
        f"sample {index} reaches 1e+30, and sets the scales of all." for index in range(count)
    ]
    (out / "report.json").write_text(json.dumps(report))
    head, _, _ = explained(capsys, out, "--target", "nxp-neutron").partition("Costliest layers")
    told = [line for line in head.splitlines() if "note" in line]
    notes = [f"  note: sample {index} reaches 1e+30, and sets the scales of all." for index in range(count)][
        :5
    ]
    assert told == [*notes, *([f"  {rest}"] if rest else [])]


@pytest.mark.parametrize("arguments", [(), ("--target", "nxp-neutron", "--layer", "depthwise")])
def test_it_reads_well_at_eighty_columns(
    arguments: tuple[str, ...], converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = explained(capsys, converted, *arguments)
    assert max(map(len, text.splitlines())) <= 80


def test_all_targets_are_told_without_a_choice(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, converted)
    assert all(f"\n{target}: " in text for target in TARGETS)


def test_all_about_one_layer(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, converted, "--target", "nxp-neutron", "--layer", "depthwise")
    for part in (
        "its weights alone (keep_float)",
        "Output a1",
        "Weights ",
        "channel ",
        "Plan",
        "Clip depthwise_clip",
    ):
        assert part in text, part


def test_a_layer_is_found_by_its_tensor_and_by_a_part_of_its_name(
    converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = explained(capsys, converted, "--target", "nxp-neutron", "--layer", "depthwise")
    assert explained(capsys, converted, "--target", "nxp-neutron", "--layer", "a1") == whole
    assert explained(capsys, converted, "--target", "nxp-neutron", "--layer", "depthw") == whole


@pytest.mark.parametrize("part", ["", "report.json", "nxp-neutron", "nxp-neutron/diagnosis.json"])
def test_any_file_of_the_output_leads_to_it(
    part: str, converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Costliest layers" in explained(capsys, converted / part)


def test_json_is_the_diagnosis(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(explained(capsys, converted, "--json"))
    assert [target["target"] for target in document["targets"]] == list(TARGETS)
    written = json.loads((converted / "nxp-neutron" / "diagnosis.json").read_text())
    del written["schema_version"]
    assert document["targets"][0]["diagnosis"] == written
    layer = json.loads(
        explained(capsys, converted, "--json", "--target", "nxp-neutron", "--layer", "depthwise")
    )
    assert layer["layer"] == next(one for one in written["layers"] if one["name"] == "depthwise")


def test_without_a_diagnosis_it_says_how_to_get_one(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "nxp-neutron" / "diagnosis.json").unlink()
    assert "convert with --diagnose" in explained(capsys, out, "--target", "nxp-neutron")
    line = refused(capsys, out, "--target", "nxp-neutron", "--layer", "depthwise")
    assert "was not diagnosed. Convert the model with --diagnose." in line


def test_what_is_not_there(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file or folder" in refused(capsys, tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "expected a folder with a report.json" in refused(capsys, tmp_path / "empty")
    assert "it has no target 'toaster'; it has nxp-neutron" in refused(capsys, out, "--target", "toaster")
    assert "--layer needs --target here: there are 2 targets" in refused(capsys, out, "--layer", "stem")
    (out / "nxp-neutron" / "plan.json").unlink()
    line = refused(capsys, out, "--target", "nxp-neutron", "--layer", "depthwise")
    assert "plan.json: cannot be read" in line


def test_a_layer_that_is_not_there_or_is_several(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, converted, "--target", "nxp-neutron", "--layer", "depthwize")
    assert "no quantized layer is called so. Choose one of depthwise" in line
    line = refused(capsys, converted, "--target", "nxp-neutron", "--layer", "e")
    assert "layers have that in their name" in line


def test_damaged_files_are_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = out / "nxp-neutron" / "diagnosis.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "model_digest": "sha256:0"}))
    assert "model_digest: expected that of report.json" in refused(capsys, out)
    path.write_text("{")
    assert "diagnosis.json: not a JSON document" in refused(capsys, out)
    (out / "report.json").write_text(json.dumps({"schema_version": "1.0"}))
    assert "report.json: model: expected a value, got 'nothing'" in refused(capsys, out)


def test_a_new_run_without_a_diagnosis_leaves_none_of_the_old(out: Path) -> None:
    folder = out.parent
    np.save(folder / "data.npy", samples(4))
    convert(
        write_network(folder / "small.onnx"),
        data=folder / "data.npy",
        targets=["nxp-neutron"],
        out=out,
        latency=False,
        diagnosis=False,
        threads=1,
        cache=folder / "cache",
    )
    assert not (out / "nxp-neutron" / "diagnosis.json").exists()
    assert 'id="diagnosis"' not in (out / "report.html").read_text()
