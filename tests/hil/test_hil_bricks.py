"""A board that does not come up after a power cut is what tests look for: it is a failed test, and no broken rig."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.drivers.openssh import SshAddress, SshConnection, SshShell
from hil.drivers.relayed_network import RelayedNetwork
from hil.drivers.switched_power import SwitchedPower
from hil.errors import BootError, RigError
from hil.null_artifact import write_null_artifact
from hil.rig import open_rig
from hil.strategy import Strategy
from host_tools.cli.main import main
from host_tools.free_port import free_port
from host_tools.repository.attestation_bundle import read_bundle, read_public_key
from tests.hil.suite_session import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.rig import Rig

pytest_plugins = ["pytester"]

# Sessions of pytest in processes of their own, with agents and brokers: on a busy machine they are long in coming.
pytestmark = pytest.mark.timeout(600)

BOARD = '[board]\nkind = "tests.hil.bricked_rig:open_rig"\ntargets = ["x86_64-onnxruntime"]\n'


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "brick.toml"
    path.write_text(BOARD)
    return path


@pytest.fixture
def bricked(tmp_path: Path, board: Path) -> Iterator[Rig]:
    (tmp_path / "rig").mkdir()
    opened = open_rig(str(board), tmp_path / "rig")
    yield opened
    opened.close()


def test_a_board_that_cannot_be_reached_after_a_cut_did_not_come_up(tmp_path: Path) -> None:
    connection = SshConnection(SshAddress(host="127.0.0.1", port=free_port()), tmp_path)
    power = SwitchedPower(
        off=lambda: None,
        on=lambda: None,
        boot_seconds=0.0,
        connection=connection,
        shell=SshShell(connection, str(tmp_path)),
        network=RelayedNetwork(),
    )
    with pytest.raises(
        BootError, match=r"has its power back and was not reached in 0 s: .*Connection refused"
    ):
        power.restore()


class NeverAsked:
    """See `Managed`: a board that is down has no agent."""

    def begin(self) -> None:
        raise AssertionError

    def wait_until_active(self) -> None:
        raise AssertionError

    def end(self) -> None:
        raise AssertionError

    def has_ended(self) -> bool:
        return True


def test_a_board_that_is_down_is_not_tried_again_and_closes_without_a_word(bricked: Rig) -> None:
    strategy = Strategy(bricked, NeverAsked())
    strategy.to("off")
    with pytest.raises(BootError, match="not up after 1 s"):
        strategy.to("model_active")
    with pytest.raises(BootError, match="rig 'brick' is down: the board is not up after 1 s"):
        Strategy(bricked, NeverAsked()).to("booted")

    def fail() -> None:
        raise RigError("the board does not answer")

    bricked.close_last(fail)
    bricked.close()
    bricked.broken = None
    with pytest.raises(RigError, match="does not answer"):
        bricked.close()
    bricked.close_parts = lambda: None


def test_the_test_that_met_it_fails_and_later_ones_are_skipped_with_that_cause(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, board: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = -p hil.plugin -p no:randomly -p no:cacheprovider\n")
    pytester.makepyfile(
        """
        def test_whole(rig): pass
        def test_cuts(rig):
            rig.power.cut()
            rig.power.restore()
        def test_after(rig): assert False
        def test_not_on_the_rig(): pass
        """
    )
    done = pytester.runpytest_subprocess(
        "-rs", f"--rig={board}", "--rig-report", "page.html", "--rig-results", "results.json"
    )
    done.assert_outcomes(passed=2, failed=1, skipped=1)
    done.stdout.fnmatch_lines(["*the board is down since *::test_cuts: the board is not up after 1 s*"])
    page = (pytester.path / "page.html").read_text()
    assert "The board did not come up." in page
    assert "The rig broke." not in page
    results = json.loads((pytester.path / "results.json").read_bytes())
    assert results["broken"] == []
    assert results["down"][0].endswith("::test_cuts")


def test_the_suite_of_power_cuts_counts_the_brick_and_a_gate_signs_that_it_failed(
    tmp_path: Path, board: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_null_artifact(tmp_path / "nothing.ewa")
    keys, out = tmp_path / "keys", tmp_path / "gate"
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    suites = ("--suite=power_cuts", "--suite=smoke")
    gate = ["hil", "gate", str(tmp_path / "nothing.ewa"), f"--rig={board}", f"--keys={keys}", f"--out={out}"]
    assert main([*gate, *suites]) == 4, capfd.readouterr().err[-4000:]
    (signed,) = read_bundle(out / "attestations.intoto.jsonl", [read_public_key(keys / "hil.pub")])
    assert signed.attestation.result == "FAILED"
    outcomes = [one.outcome for one in signed.attestation.tests]
    assert outcomes == ["failed", "skipped", "skipped"]
    (results,) = out.glob("brick-*.json")
    told = json.loads(results.read_bytes())
    measured = {one["name"]: one["value"] for one in told["tests"][0]["measurements"]}
    assert (measured["cuts"], measured["bricks"]) == (1, 1)
    assert "Kernel panic" in told["down"][1]
    assert "the board is down since" in told["tests"][1]["reason"]


SCENARIO = """
[scenario]
name = "one cut"
seed = 1
duration_seconds = 3.0

[agent.source]
kind = "null"
rate_hz = 20.0

[[fault]]
kind = "power_cut"
at_seconds = 0.5
for_seconds = 0.2
"""


def test_a_scenario_that_ends_with_a_board_that_is_down_did_not_come_true(
    tmp_path: Path, board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_null_artifact(tmp_path / "nothing.ewa")
    (tmp_path / "cut.toml").write_text(SCENARIO)
    run = ["hil", "scenario", "run", str(tmp_path / "cut.toml"), f"--rig={board}", "--json"]
    assert main([*run, f"--rig-artifact={tmp_path / 'nothing.ewa'}"]) == 4
    told = capsys.readouterr()
    outcome = json.loads(told.out.splitlines()[0])
    assert "not up after 1 s" in outcome["unmet"][0]
    assert outcome["starts"] == 1
