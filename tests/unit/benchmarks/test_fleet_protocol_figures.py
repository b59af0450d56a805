"""The benchmark of a rollout over a real broker: what it counts as done once, what it writes, and how it ends when it cannot."""

from __future__ import annotations

import json
import os
import random
import resource
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.fleet.protocol import command
from benchmarks.fleet.protocol.chaos import Chaos, Kill, restarts_by
from benchmarks.fleet.protocol.costs import Cost, Costs, family
from benchmarks.fleet.protocol.figures import ProtocolFigures, to_json, to_markdown, write_into_docs
from benchmarks.fleet.protocol.programs import Programs, allow_open_files
from benchmarks.fleet.protocol.rollouts import JobFigures, RolloutFigures, StageFigures
from benchmarks.fleet.protocol.stand import StandSettings
from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

JOBS = JobFigures(
    jobs=10,
    succeeded=10,
    devices_once=10,
    devices_more=0,
    devices_less=0,
    audit_whole=True,
    audit={"rollout.stage_began": 4, "rollout.stage_passed": 4, "rollout.finished": 1},
)
COSTS = {
    "server": Cost(processor_seconds=5.0, peak_rss_bytes=200.0 * (1 << 20), peak_pss_bytes=100.0 * (1 << 20))
}
ROLLOUT = RolloutFigures(
    name="plain",
    seconds=50.0,
    signed_to_last_commit_seconds=48.0,
    stages=(
        StageFigures(
            name="canary",
            devices=0,
            seconds=5.0,
            signing_seconds=None,
            first_commit_seconds=None,
            last_commit_seconds=None,
        ),
        StageFigures(
            name="100 %",
            devices=10,
            seconds=45.0,
            signing_seconds=0.125,
            first_commit_seconds=6.0,
            last_commit_seconds=40.0,
        ),
    ),
    jobs=JOBS,
    messages={"acknowledged": 1_000, "m": 800, "e": 40},
    messages_per_second=20.0,
    costs=COSTS,
    gates={"latency_p50": "passed: as it was."},
    killed=False,
    down_seconds=0.0,
)
FIGURES = ProtocolFigures(
    command="python -m benchmarks.fleet.protocol --devices 10",
    settings=StandSettings(
        devices=10,
        processes=2,
        check_seconds=30.0,
        window_seconds=20.0,
        rate_hz=10.0,
        probation_seconds=20.0,
        artifact_bytes=1 << 18,
        start_seconds=30.0,
        gates_seconds=20.0,
    ),
    soak_seconds=60.0,
    machine={
        "processor": "p",
        "cores": "2 usable of 2",
        "system": "s",
        "load average before": "0.90 3.00 3.00",
        "load average after": "2.00 2.00 2.00",
    },
    versions={"edgewright": "0.1.0", "python": "3.11"},
    up_seconds=20.0,
    quiet_seconds=60.0,
    quiet=COSTS,
    rollouts=(ROLLOUT, replace(ROLLOUT, name="killed", killed=True, down_seconds=7.0)),
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"jobs": 9}, "jobs: expected 10, got 9"),
        ({"succeeded": 9}, "jobs with success at the first attempt: expected 10, got 9"),
        ({"devices_once": 9, "devices_more": 1}, "devices that did each step once: expected 10, got 9"),
        ({"audit_whole": False}, "whole audit: expected True, got False"),
        (
            {"audit": {**JOBS.audit, "rollout.stage_began": 5}},
            "stages that began: expected 4, got 5",
        ),
        ({"audit": {}}, "ends: expected 1, got None"),
    ],
)
def test_what_was_not_done_exactly_once_is_told(change: dict[str, object], told: str) -> None:
    assert JOBS.faults(10, 4) == []
    assert told in replace(JOBS, **change).faults(10, 4)  # type: ignore[arg-type]  # fields of it


def test_the_tables_say_what_was_measured() -> None:
    text = to_markdown(FIGURES)
    assert "| plain | canary | 0 | 5 |  |  |  |" in text
    assert "| plain | 100 % | 10 | 45 | 0.12 | 6.0 | 40.0 |" in text
    assert "| killed, server killed in the middle | whole | 10 | 50 | | | 48 |" in text
    assert "| fleet server | plain | 5.0 | 0.10 | 500.0 | 200 | 100 | 10240.0 |" in text
    assert "answered again after 7 s" in text
    assert "SQLite" in text
    assert "under the load" not in text
    assert json.loads(to_json(FIGURES))["rollouts"][1]["jobs"]["devices_once"] == 10


def test_what_was_killed_at_random_moments_is_told() -> None:
    kills = [
        Kill(program=program, stage=0, after_seconds=1.0, down_seconds=down)
        for program, down in (("broker", 1.0), ("ingest worker", 0.0), ("broker", 2.0))
    ]
    text = to_markdown(replace(FIGURES, rollouts=(replace(ROLLOUT, kills=tuple(kills)),)))
    assert (
        "Killed at random moments of its stages, and started again: broker 2 times, there again after 2 s at most; ingest worker 1 times."
        in text
    )


def test_a_chaos_that_is_none_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for kills, pause in ((0, 1.0), (1, 0.0), (1, float("nan")), (1, float("inf"))):
        with pytest.raises(InputError, match="one kill at least and a pause above 0 s"):
            Chaos(seed=1, kills=kills, pause_seconds=pause)
    for options, told in (
        (["--chaos", "-1"], "one kill at least"),
        (["--restart-database", "true"], "belongs to --chaos"),
        (["--chaos", "1", "--restart-database", "'true"], "No closing quotation"),
        (["--chaos", "1", "--restart-database", ""], "expected a command, got none"),
    ):
        assert command.main([*options, "--devices", "1", "--folder", str(tmp_path)]) == 1
        assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_restarted_by_a_command_and_one_that_fails_is_told(tmp_path: Path) -> None:
    restarts_by(f"touch {tmp_path / 'restarted'}")()
    assert (tmp_path / "restarted").exists()
    for failing, told in (("false", "status 1"), ("no-such-program-of-ours", "No such file")):
        with pytest.raises(OutputError, match=told):
            restarts_by(failing)()


def test_figures_of_a_busy_machine_are_called_so() -> None:
    for load, is_busy in (("1.90 0.00 0.00", False), ("2.10 0.00 0.00", True)):  # of two cores
        figures = replace(FIGURES, machine={**FIGURES.machine, "load average before": load})
        assert ("under the load of other work" in to_markdown(figures)) is is_busy


def test_no_address_of_a_database_is_written() -> None:
    settings = replace(FIGURES.settings, database="postgresql://fleet:secret@host/fleet")
    figures = replace(FIGURES, settings=settings)
    assert "PostgreSQL" in to_markdown(figures)
    assert "secret" not in to_markdown(figures) + to_json(figures)


def test_the_tables_are_put_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "rollouts.md"
    page.write_text("before\n<!-- protocol -->\nold\n<!-- /protocol -->\nafter\n", encoding="utf-8")
    write_into_docs(FIGURES, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- protocol -->\n\n| rollout")
    assert text.endswith("<!-- /protocol -->\nafter\n")
    assert "old" not in text


def test_more_open_files_than_the_machine_allows_are_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hard = 4_096
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, hard))  # some machines have no limit
    with pytest.raises(InputError, match=f"the hard limit is {hard}"):
        allow_open_files(hard + 1)
    assert command.main(["--devices", str(hard), "--folder", str(tmp_path)]) == 1
    assert "ulimit -Hn" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


PARENT = """
import subprocess, sys
while True:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""


def _child_of(programs: Programs, *, other_than: psutil.Process | None = None) -> psutil.Process:
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = [one for one in family(programs.running["parent"].pid)[1:] if one != other_than]
        return bool(found)

    programs.wait_until(is_there, what="it has a child", seconds=120.0, look_seconds=0.05)
    return found[0]


def test_a_program_that_ends_or_does_not_come_to_it_is_told_with_its_log(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    try:
        programs.start("sleeper", sys.executable, "-c", "import time; time.sleep(600)")
        with pytest.raises(OutputError, match=r"not within 0 s: pigs fly\."):
            programs.wait_until(lambda: False, what="pigs fly", seconds=0.0, look_seconds=0.01)
        programs.start("teller", sys.executable, "-c", "raise SystemExit('no such luck')")
        with pytest.raises(OutputError, match=r"(?s)teller has ended with status 1.*no such luck"):
            programs.wait_until(lambda: False, what="pigs fly", seconds=300.0, look_seconds=0.01)
        programs.kill("sleeper")
        assert list(programs.running) == ["teller"]
    finally:
        programs.end()


def test_a_program_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    try:
        programs.start("parent", sys.executable, "-c", PARENT)
        first = _child_of(programs)
        programs.kill_child("parent", random.Random(1))
        second = _child_of(programs, other_than=first)
        programs.kill("parent")
        assert not any(
            child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in (first, second)
        )
    finally:
        programs.end()


def test_costs_of_a_program_are_those_since_they_were_begun_to_be_counted() -> None:
    costs = Costs(lambda: {"devices-0": os.getpid(), "gone": 1 << 30})
    try:
        costs.begin()
        before = costs.taken()["devices"]
        deadline = sum(os.times()[:2]) + 0.2
        while sum(os.times()[:2]) < deadline:
            pass
        after = costs.taken()
    finally:
        costs.close()
    assert set(after) == {"devices"}
    assert after["devices"].processor_seconds >= before.processor_seconds + 0.1
    assert after["devices"].peak_rss_bytes >= after["devices"].peak_pss_bytes > 0
