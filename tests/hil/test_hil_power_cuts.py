"""Power cuts that are kept one by one, so that a hundred of them may take several sittings."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import power_cuts
from benchmarks.power_cuts_figures import MARK, document_of, markdown_of
from hil.suites.cut_record import Cut, CutRecord
from hil.suites.updating import STEPS
from host_tools.errors import InputError, OutputError
from tests.hil.suite_session import ROOT
from tests.integration.support import wait_until

FACTS = {
    "rig": "qemu-x86_64",
    "board_image": "x86_64-1",
    "accelerator": "tcg (said so)",
    "artifact_target": "null",
    "git_commit": "0123456789abcdef+changes",
}


def a_cut(number: int, *, reason: str = "", recovery: float = 40.0) -> Cut:
    return Cut(
        number=number,
        step=STEPS[(number - 1) % len(STEPS)],
        pause_seconds=0.5,
        outcome="brick" if reason else "kept",
        recovery_seconds=None if reason else recovery,
        reason=reason,
        seconds=60.0,
    )


def filled(path: Path, *cuts: Cut) -> CutRecord:
    record = CutRecord(path)
    record.begin_session(FACTS)
    for cut in cuts:
        record.begin(cut.number, cut.step)
        record.end(cut)
    return record


@settings(max_examples=25)  # each line is brought to the disk
@given(st.lists(st.tuples(st.floats(0.0, 1e8), st.text(max_size=20)), max_size=6), st.integers(0, 60))
def test_what_is_recorded_is_read_again_and_half_a_line_is_not_there(
    told: list[tuple[float, str]], torn: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "cuts.jsonl"
        cuts = [a_cut(n, reason=reason, recovery=seconds) for n, (seconds, reason) in enumerate(told, 1)]
        record = filled(path, *cuts)
        with path.open("ab") as stream:
            stream.write(b'{"ended": {"number": 1, "step": "update_started", "pause_seconds": 0.5'[:torn])
        again = CutRecord(path)
        assert (again.cuts, again.broken_off) == (cuts, 0)
        assert again.sessions == record.sessions
        again.begin(len(cuts) + 1, "update_tried")  # in place of the half line
        assert CutRecord(path).broken_off == 1
        assert CutRecord(path).cuts == cuts


def test_a_cut_that_was_broken_off_is_counted_and_not_told_as_one_that_went_well(tmp_path: Path) -> None:
    path = tmp_path / "cuts.jsonl"
    record = filled(path, a_cut(1))
    record.begin(2, STEPS[1])  # killed here
    record = CutRecord(path)
    assert (len(record.cuts), record.broken_off) == (1, 1)
    record.begin_session(FACTS)
    record.begin(2, STEPS[1])  # and here again
    record = CutRecord(path)
    record.begin(2, STEPS[1])
    record.end(a_cut(2))
    record = CutRecord(path)
    assert ([cut.number for cut in record.cuts], record.broken_off) == ([1, 2], 2)
    assert "broken off with their sitting and made again: 2" in markdown_of(record)


@pytest.mark.parametrize("name", ["rig", "board_image", "accelerator", "artifact_target"])
def test_a_record_is_of_one_board(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cuts.jsonl"
    filled(path, a_cut(1))
    CutRecord(path).begin_session(
        FACTS | {"git_commit": "another", "accelerator": "tcg (for another reason)"}
    )
    with pytest.raises(InputError, match=f"is of {name} .*, this session of 'another'") as caught:
        CutRecord(path).begin_session(FACTS | {name: "another"})
    assert "another file" in caught.value.hint


ENDED = '{"ended": {"number": 1, "step": "s", "pause_seconds": 0.5, "outcome": "kept", "recovery_seconds": 1.0, "reason": "", "seconds": 2.0}}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no JSON", "line 1: expected a line of a record"),
        ("[" * 9000, "line 1: expected a line of a record"),
        ("[1]", "line 1: expected a line of a record"),
        ("{}", "line 1: expected a line of a record"),
        ('{"began": 1}', "line 1: expected session, begun or ended, got 'began'"),
        ('{"ended": 1}', "line 1: expected session, begun or ended"),
        ('{"ended": {"number": 1}}', "line 1: expected a power cut"),
        (ENDED.replace('r": 1', 'r": 2'), "line 1: expected power cut 1 with its outcome"),
        (ENDED.replace('"kept"', '"gone"'), "line 1: expected power cut 1 with its outcome"),
        (ENDED.replace('"kept"', '"brick"'), "line 1: expected power cut 1 with its outcome"),
        (ENDED.replace("0.5", "NaN"), "line 1: expected power cut 1 with its outcome"),
        (ENDED.replace("0.5", "-1"), "line 1: expected power cut 1 with its outcome"),
        (ENDED.replace("0.5", '"x"'), "line 1: expected power cut 1 with its outcome"),
        (f"{ENDED}\n\n", "line 2: expected a line of a record"),
        (f"x\r{ENDED}", "line 1: expected a line of a record"),
        (f"{ENDED}\n{ENDED}", "line 2: expected power cut 2 with its outcome"),
    ],
)  # fmt: skip
def test_a_record_that_is_damaged_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "cuts.jsonl").write_text(f"{line}\n")
    with pytest.raises(InputError, match=message):
        CutRecord(tmp_path / "cuts.jsonl")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cuts.jsonl"
        path.write_bytes(data + b"\n")
        with contextlib.suppress(InputError):
            CutRecord(path)


def test_a_record_that_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be read"):
        CutRecord(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        CutRecord(tmp_path / "file" / "cuts.jsonl").begin(1, STEPS[0])
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate((1 << 24) + 1)
    with pytest.raises(InputError, match="at most 16777216 bytes"):
        CutRecord(tmp_path / "large")


def test_without_a_file_nothing_is_kept() -> None:
    record = CutRecord()
    record.begin_session(FACTS)
    record.begin(1, STEPS[0])
    record.end(a_cut(1))
    assert record.cuts == [a_cut(1)]


def test_the_figures_of_a_record(tmp_path: Path) -> None:
    cuts = [a_cut(number, recovery=30.0 + number) for number in range(1, 7)]
    record = filled(tmp_path / "cuts.jsonl", *cuts)
    text = markdown_of(record)
    assert "| cuts | 6, in 1 sitting;" in text
    assert "| 0 (95 % interval of the rate, Wilson: 0.0 to 39.0 %) |" in text
    assert "median 33.5 s (31.0 to 36.0 s)" in text
    assert "| `update_started` | 2 | 2 | median 33.0 s (31.0 to 35.0 s) |" in text
    assert "0123456789ab with changes" in text
    assert document_of(record)["kept"] == 6
    record.begin_session(FACTS)
    record.end(a_cut(7, reason="not up:\nKernel panic"))
    text = markdown_of(record)
    assert "| 1 (95 %" in text
    assert "6 of 7" in text
    assert "Cut 7, at `update_activated`, brick: not up: Kernel panic" in text
    assert "| `update_activated` | 2 | 1 | median 33.0 s (33.0 to 33.0 s) |" in text
    json.dumps(document_of(record), allow_nan=False)
    assert f"<!-- {MARK} -->\n" in power_cuts.DOCUMENT.read_text(), "where they go"


def sit(work: Path, *arguments: str) -> int:
    return power_cuts.main(["--rig=local", f"--work={work}", *arguments])


def test_nothing_is_told_of_a_record_without_a_cut(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert sit(tmp_path, "--sitting=0") == 3
    assert "No cut was made yet" in capfd.readouterr().err
    assert power_cuts.main(["--rig=locl", "--sitting=0"]) == 2
    assert "Did you mean 'local'" in capfd.readouterr().err
    (tmp_path / "local.jsonl").write_text("no JSON\n")
    assert sit(tmp_path, "--sitting=0") == 2
    assert "local.jsonl: line 1: expected" in capfd.readouterr().err


# As the next: a session of pytest in a process of its own.
@pytest.mark.timeout(900)
def test_a_suite_that_is_skipped_is_no_sitting(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    board = tmp_path / "own.toml"
    board.write_text('[board]\nkind = "tests.hil.bare_rig:open_rig"\ntargets = ["cortex-a-tflite"]\n')
    assert power_cuts.main([f"--rig={board}", f"--work={tmp_path / 'work'}"]) == 1
    assert "skipped: rig 'own' has no power, network" in capfd.readouterr().err


# A session of pytest with an agent and a broker: on a busy machine it is long in coming.
@pytest.mark.timeout(900)
def test_a_sitting_that_is_killed_is_gone_on_with_and_its_figures_go_into_the_document(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, record = tmp_path / "work", tmp_path / "work" / "local.jsonl"
    command = [sys.executable, "-m", "benchmarks.power_cuts", "--rig=local", "--cuts=500", f"--work={work}"]
    with (tmp_path / "said").open("wb") as said:
        sitting = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        wait_until(lambda: len(CutRecord(record).cuts) >= 2, what="two cuts were made", seconds=400)
    finally:
        sitting.send_signal(signal.SIGINT)
        assert sitting.wait(200) == 130
    told = (tmp_path / "said").read_text()
    assert "cut 1 of 500, at update_started: kept, " in told
    assert "the same command goes on where it stopped" in told
    made, was_broken_off = len(CutRecord(record).cuts), CutRecord(record).broken_off

    document = tmp_path / "hil.md"
    document.write_text("before\n<!-- power-cuts -->\nold\n<!-- /power-cuts -->\nafter\n")
    monkeypatch.setattr(power_cuts, "DOCUMENT", document)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert sit(work, f"--cuts={made + 2}", "--minutes=0.0001") == 3, capfd.readouterr().err[-4000:]
    assert (len(CutRecord(record).cuts), CutRecord(record).broken_off) == (made + 1, was_broken_off)
    assert sit(work, "--sitting=0", f"--json={tmp_path}") == 7
    assert f"{tmp_path}: Is a directory" in capfd.readouterr().err
    figures = tmp_path / "figures.json"
    assert sit(work, f"--cuts={made + 2}", "--write-docs", f"--json={figures}") == 0
    counts = f"| cuts | {made + 2}, in 3 sittings;"
    assert counts in capfd.readouterr().out
    assert counts in document.read_text()
    assert document.read_text().startswith("before\n<!-- power-cuts -->\n\n|")
    kept = json.loads(figures.read_bytes())
    assert (kept["kept"], kept["bricks"], len(kept["sittings"])) == (made + 2, 0, 3)
    assert [one["number"] for one in kept["each"]] == list(range(1, made + 3))
    assert sit(work, f"--cuts={made + 2}") == 0, "all are made: nothing is started"
    assert len(CutRecord(record).sessions) == 3
