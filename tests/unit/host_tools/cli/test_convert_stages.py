"""`convert --method auto` and `--budget-minutes`: what a user sees of the stages, and what the artifact is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from host_tools.cli.main import main
from tests.unit.host_tools.reconstruct.hard_networks import classifier, pictures, spread


@pytest.fixture
def convert(tmp_path, capsys):
    """Return a function that converts a hard network and gives exit status, what was printed, and the report."""
    (tmp_path / "net.onnx").write_bytes(
        classifier(
            w2=spread(5, 300.0, w2=(12, 12, 1, 1))["w2"], w1=spread(6, 300.0, w1=(12, 1, 3, 3))["w1"]
        ).SerializeToString()
    )
    np.save(tmp_path / "x.npy", pictures(48))

    def run(*more, out="out", target="generic-power-of-two"):
        paths = {"--data": tmp_path / "x.npy", "--out": tmp_path / out, "--cache": tmp_path / "cache"}
        given = [str(word) for pair in paths.items() for word in pair]
        options = ("--target", target, "--no-latency", "--no-diagnose", "--quiet")
        status = main(["convert", str(tmp_path / "net.onnx"), *given, *options, *map(str, more)])
        printed = capsys.readouterr()
        report = tmp_path / out / "report.json"
        return status, printed, json.loads(report.read_text()) if report.exists() else None

    return run


def stages(report):
    return [(stage["name"], stage["is_kept"]) for stage in report["targets"][0]["stages"]]


def test_the_stages_are_shown_from_where_they_started(convert, tmp_path):
    status, printed, report = convert()
    assert status == 0
    assert stages(report)[:2] == [("ranges", True), ("equalization", True)]
    shown = [line.strip() for line in printed.out.splitlines() if "generic-power-of-two: " in line]
    first, second, *_ = (f"{stage['sqnr_db']:.1f} dB in " for stage in report["targets"][0]["stages"])
    assert shown[0].startswith(f"generic-power-of-two: ranges: {first}")
    assert shown[1].startswith(f"generic-power-of-two: equalization: {second}")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Methods, in stages" in page
    assert "Channels were scaled against one another" in page


def test_every_stage_may_be_asked_for_by_a_recipe(convert, tmp_path):
    (tmp_path / "recipe.toml").write_text("equalization = false\nreconstruction = true\n")
    status, printed, report = convert("--recipe", tmp_path / "recipe.toml")
    assert status == 0
    assert stages(report) == [("ranges", True), ("reconstruction", True)]
    plan = json.loads((tmp_path / "out" / "generic-power-of-two" / "plan.json").read_text())
    assert sum("codes" in tensor for tensor in plan["tensors"]) == 4
    assert "reconstruction: " in printed.out


def test_a_method_by_name_is_ranges_and_nothing_more(convert):
    status, printed, report = convert("--method", "minmax")
    assert status in (0, 4)
    assert stages(report) == [("ranges", True)]
    assert "ranges: " not in printed.out
    assert report["targets"][0]["method"] == "minmax"


def test_a_budget_that_is_up_leaves_the_best_there_was_and_says_so(convert, tmp_path):
    status, printed, report = convert("--budget-minutes", "0.000001")
    assert status in (0, 4)
    assert stages(report) == [("ranges", True), ("equalization", False), ("reconstruction", False)]
    assert "generic-power-of-two: equalization: left out, the time was up" in printed.out
    assert "generic-power-of-two: reconstruction: left out, the time was up" in printed.out
    assert (tmp_path / "out" / "generic-power-of-two" / "plan.json").exists()
    assert "the time was up" in (tmp_path / "out" / "report.html").read_text()


def test_the_same_again_from_the_cache_and_without(convert, tmp_path):
    (tmp_path / "recipe.toml").write_text("equalization = true\nreconstruction = true\n")
    made = []
    for out, threads in (("one", 1), ("two", 1), ("three", 2)):
        status, _, report = convert("--recipe", tmp_path / "recipe.toml", "--threads", threads, out=out)
        assert status == 0
        assert stages(report) == [("ranges", True), ("equalization", True), ("reconstruction", True)]
        made.append((tmp_path / out / "generic-power-of-two" / "plan.json").read_bytes())
        if out == "two":
            for path in (tmp_path / "cache").iterdir():
                path.unlink()
    assert made[0] == made[1] == made[2]


def test_no_cache_can_be_written(convert, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    status, printed, report = convert()
    assert status == 7
    (line,) = printed.err.splitlines()
    assert "Choose another --cache DIR." in line
    assert report is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_calibration_set_of_hardly_any_sample(convert, count):
    status, _, report = convert("--limit", count)
    assert status in (0, 4)
    assert f"{count} are too few to keep any back" in report["targets"][0]["stages"][0]["note"]


def test_a_goal_that_cannot_be_met_gives_the_best_with_its_trail(convert, tmp_path):
    (tmp_path / "recipe.toml").write_text("equalization = false\nreconstruction = false\n")
    goal = ("--recipe", tmp_path / "recipe.toml", "--min-sqnr", "90", "--spare", "size")
    status, printed, report = convert(*goal, target="cortex-m-tflm")
    assert status == 4, "the goal is missed"
    assert stages(report) == [("ranges", True), ("mixed precision", True)]
    note = report["targets"][0]["stages"][-1]["note"]
    reached = report["targets"][0]["stages"][-1]["sqnr_db"]
    assert f"90 dB is not reached, {90 - reached:.1f} dB short, this is the best that was found" in note
    told = [
        line.partition("cortex-m-tflm:   ")[2]
        for line in printed.out.splitlines()
        if "cortex-m-tflm:   " in line
    ]
    assert "; ".join(told) == note, "the terminal says what the report does"
    assert " on 16 bits) " in note.partition("tried: ")[2]
    plan = json.loads((tmp_path / "out" / "cortex-m-tflm" / "plan.json").read_text())
    assert {"int16", "float32"} & {node["precision"] for node in plan["nodes"]}
    assert "mixed precision runs " in printed.out
    assert "tried: " in (tmp_path / "out" / "report.html").read_text()


def test_what_is_spared_stands_over_the_recipe(convert, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        'equalization = false\nreconstruction = false\nspared = "latency"\n[widen]\nops = ["Conv"]\n'
    )
    status, _, _ = convert("--recipe", tmp_path / "recipe.toml", "--spare", "size", target="cortex-m-tflm")
    assert status in (0, 4)
    plan = json.loads((tmp_path / "out" / "cortex-m-tflm" / "plan.json").read_text())
    assert any(node["precision"] == "int16" for node in plan["nodes"])


def test_a_target_without_16_bits_refuses_a_recipe_that_wants_them(convert, tmp_path):
    (tmp_path / "recipe.toml").write_text('[widen]\nops = ["Conv"]\n')
    status, printed, _ = convert("--recipe", tmp_path / "recipe.toml")
    assert status == 3
    assert "cannot have 16-bit activations on 'generic-power-of-two'" in printed.out + printed.err


def test_only_what_can_be_spared_is_taken(convert, capsys):
    with pytest.raises(SystemExit) as refused:
        convert("--spare", "memory")
    assert refused.value.code == 2
    assert "latency" in capsys.readouterr().err
