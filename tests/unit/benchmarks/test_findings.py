"""Findings: limits, the JSON between processes, and how figures are said."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks.command import UNMEASURED, UNMET, exit_status, main, notes_of, parts_of, same_material
from benchmarks.document import BEGIN, END, results, with_results, write_results
from benchmarks.findings import (
    Chapter,
    Finding,
    Limit,
    Report,
    decode_chapter,
    encode,
    said,
    said_limit,
    said_spread,
)
from benchmarks.options import Options
from benchmarks.show import show_chapter, show_verdict
from host_tools.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

AT_MOST = Limit(bound=1.05, at_most=True)
MET = Finding(
    subject="ours / theirs",
    figure="ratio",
    unit="ratio",
    value=1.0,
    low=0.9,
    high=1.1,
    spread="quartiles",
    sample="7 rounds",
    limit=AT_MOST,
)
UNMET_FINDING = dataclasses.replace(MET, value=1.06)
MISSING = Finding(
    subject="NNCF",
    figure="latency",
    unit="seconds",
    limit=AT_MOST,
    missing="nncf is not installed: pip install nncf==3.4.0",
)


def report(*findings: Finding) -> Report:
    chapter = Chapter(name="latency", title="Latency", findings=findings, notes=("one note",), seconds=2.0)
    return Report(
        command="python -m benchmarks",
        date="2026-11-25T00:00Z",
        machine={"processor": "A|B"},
        versions={"numpy": "2"},
        chapters=(chapter,),
    )


def options(tmp_path: Path, **changes: object) -> Options:
    base = Options(
        data=tmp_path, work=tmp_path, images=None, rounds=7, repeats=3, agent_seconds=60.0, slow_peers=False
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at_most", "value", "met"),
    [
        (True, 1.05, True),
        (True, 1.06, False),
        (False, 1.05, True),
        (False, 1.04, False),
        (True, math.nan, False),
        (False, math.nan, False),
    ],
)
def test_a_limit_includes_its_bound_and_nothing_that_is_no_number(
    at_most: bool, value: float, met: bool
) -> None:
    assert Limit(bound=1.05, at_most=at_most).is_met(value) is met


def test_no_figure_is_neither_met_nor_unmet() -> None:
    assert MISSING.is_met is None
    assert said_limit(MISSING) == "≤ 1.05 s: not measured"
    assert said_limit(dataclasses.replace(MET, limit=None)) == ""


def test_a_chapter_survives_the_way_between_processes(tmp_path: Path) -> None:
    infinite = dataclasses.replace(MET, value=math.inf, high=math.inf, unit="decibels", limit=None)
    chapter = report(MET, MISSING, infinite).chapters[0]
    (tmp_path / "chapter.json").write_text(encode(chapter))
    assert decode_chapter(tmp_path / "chapter.json") == chapter


def test_a_report_is_json_that_every_reader_takes() -> None:
    document = json.loads(encode(report(dataclasses.replace(MET, high=math.inf))), parse_constant=pytest.fail)
    assert document["chapters"][0]["findings"][0]["limit"] == {"bound": 1.05, "at_most": True}


def test_options_survive_the_way_between_processes(tmp_path: Path) -> None:
    chosen = options(tmp_path, images=10, slow_peers=True, hard_targets=("amd-vitis-dpu",), simulated=5)
    assert Options.from_json(chosen.to_json()) == chosen
    assert (chosen.calibration_images, chosen.evaluation_images) == (10, 10)
    assert (options(tmp_path).calibration_images, options(tmp_path).evaluation_images) == (200, 800)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.98, "ratio", "0.980 ×"),
        (0.98, "share", "98.00 %"),
        (-0.5, "points", "-0.50 points"),
        (20e-6, "seconds", "20.0 µs"),
        (-3e-6, "seconds", "-3.0 µs"),
        (2.8e-3, "seconds", "2.800 ms"),
        (61.0, "seconds", "61.00 s"),
        (float(32 << 20), "bytes", "32.0 MiB"),
        (math.inf, "decibels", "inf"),
        (None, "ratio", "–"),
    ],
)
def test_figures_are_said_with_their_unit(value: float | None, unit: str, text: str) -> None:
    assert said(value, unit) == text  # type: ignore[arg-type]


def test_the_exit_status_tells_what_was_not_measured_before_what_is_not_met() -> None:
    assert exit_status(report(MET), strict=True) == 0
    assert exit_status(report(MET, UNMET_FINDING), strict=False) == 0
    assert exit_status(report(MET, UNMET_FINDING), strict=True) == UNMET
    assert exit_status(report(MET, UNMET_FINDING, MISSING), strict=True) == UNMEASURED


def test_a_run_that_is_too_small_says_so(tmp_path: Path) -> None:
    assert notes_of(options(tmp_path), ("latency", "memory")) == ()
    small = options(tmp_path, images=10, rounds=2, repeats=1)
    assert [note.split()[2] for note in notes_of(small, ("latency", "memory"))] == [
        "pictures",
        "rounds",
        "repeats",
    ]
    assert len(notes_of(small, ("accuracy",))) == 1
    [note] = notes_of(options(tmp_path, hard_targets=("amd-vitis-dpu", "nxp-neutron")), ("hard", "accuracy"))
    assert "without generic-per-tensor-symmetric, generic-power-of-two, espressif-esp32s3" in note


def test_the_page_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# By hand\n\n{BEGIN}\n<!-- a run -->\nold\n<!-- chapter latency -->\n{END}\n\nafter\n")
    for _ in range(2):
        write_results(page, report(MET, UNMET_FINDING, MISSING))
    text = page.read_text()
    assert text.startswith("# By hand\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert text.count(BEGIN) == text.count(END) == 1
    assert (
        "| ours / theirs | ratio | 1.000 × | 0.900 × to 1.100 × (quartiles) | ≤ 1.050 ×: met | 7 rounds |"
        in text
    )
    assert "**≤ 1.050 ×: NOT met**" in text
    assert "not measured: nncf is not installed: pip install nncf==3.4.0" in text


def test_a_chapter_is_written_alone_and_the_others_stay_with_their_run() -> None:
    first = dataclasses.replace(
        report(MET),
        date="the first day",
        chapters=(
            dataclasses.replace(report(MET).chapters[0], name="accuracy", title="Accuracy"),
            *report(UNMET_FINDING).chapters,
        ),
    )
    page = with_results(f"{BEGIN}{END}", first)
    second = dataclasses.replace(report(MET), date="the second day")
    for _ in range(2):
        page = with_results(page, second)
    assert page.count("<!-- a run -->") == 2
    assert page.count("### Latency") == page.count("### Accuracy") == 1
    assert page.index("the first day") < page.index("### Accuracy") < page.index("the second day")
    assert page.index("the second day") < page.index("### Latency")
    assert "NOT met" not in page  # the older latency is gone
    third = dataclasses.replace(first, date="the third day")
    page = with_results(page, third)
    assert page.count("<!-- a run -->") == 1  # nothing is left of the earlier ones
    assert page == with_results(page, third) == with_results(f"{BEGIN}{END}", third)


def test_results_that_are_no_runs_are_not_thrown_away() -> None:
    with pytest.raises(ValueError, match="do not begin with"):
        with_results(f"{BEGIN}\nmine\n{END}", report(MET))


def test_a_bar_in_a_cell_breaks_no_table() -> None:
    assert "| processor | A\\|B |" in results(report(MET))


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_without_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        with_results(text, report(MET))
    page = tmp_path / "benchmarks.md"
    page.write_text(text)
    with pytest.raises(OutputError, match=r"benchmarks\.md"):
        write_results(page, report(MET))
    assert page.read_text() == text


def test_no_page_is_our_own_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"absent\.md"):
        write_results(tmp_path / "absent.md", report(MET))


def test_the_terminal_shows_verdicts_and_what_is_missing() -> None:
    console = Console(record=True, width=200)
    shown = report(MET, UNMET_FINDING, MISSING)
    show_chapter(console, shown.chapters[0])
    show_verdict(console, shown)
    text = console.export_text()
    assert "3 limits: 1 met, 1 NOT met" in text
    assert "pip install nncf==3.4.0" in text
    assert said_spread(MET) in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hard-targets", "amd-vitis-dpu,x86_64-onnxruntime"],
        ["--simulated", "0"],
        ["--only", "latency,speed"],
        ["--rounds", "0"],
        ["--images", "x"],
        ["--agent-seconds", "nan"],
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(tmp_path), "--python", "this", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_data_that_are_not_there_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--data", str(tmp_path / "absent"), "--work", str(tmp_path / "work"), "--python", "this"])
    assert status == 2
    assert "labels.csv" in capsys.readouterr().err.replace("\n", "")


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["--data", str(tmp_path), "--work", str(tmp_path), "--python", "this"]) == 2
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    assert "other files" in capsys.readouterr().err.replace("\n", " ")


def test_hard_has_a_chapter_for_each_target(tmp_path: Path) -> None:
    chosen = options(tmp_path, hard_targets=("amd-vitis-dpu", "nxp-neutron"))
    assert [part.hard_targets for part in parts_of("hard", chosen)] == [("amd-vitis-dpu",), ("nxp-neutron",)]
    assert parts_of("accuracy", chosen) == (chosen,)


def test_a_run_goes_on_with_the_same_pictures_only(tmp_path: Path) -> None:
    assert same_material(options(tmp_path), options(tmp_path, rounds=9, hard_targets=("nxp-neutron",)))
    assert not same_material(options(tmp_path), options(tmp_path, images=4))


def test_a_run_on_other_pictures_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / ".edgewright-benchmarks").touch()
    (work / "options.json").write_text(options(work, images=4).to_json())
    arguments = ["--data", str(tmp_path), "--work", str(work), "--python", "this", "--resume"]
    assert main(arguments) == 2
    assert "to go on with" in capsys.readouterr().err.replace("\n", " ")
    assert (work / "options.json").is_file()


def test_a_run_that_goes_on_keeps_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / ".edgewright-benchmarks").touch()
    chosen = options(work, data=tmp_path.resolve(), work=work.resolve())
    (work / "options.json").write_text(chosen.to_json())
    (work / "latency.json").write_text(encode(report(MET).chapters[0]))
    base = ["--data", str(tmp_path), "--work", str(work), "--python", "this", "--only", "latency"]
    assert main([*base, "--resume", "--json", str(tmp_path / "out.json")]) == 0
    assert "1 limits: 1 met" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["chapters"][0]["title"] == "Latency"
    assert main(base) == 2  # begins anew, and finds no pictures
    assert not (work / "latency.json").exists()
