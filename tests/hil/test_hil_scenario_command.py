"""Scenarios by the command: played, shown, and refused where the rig lacks what they need."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from hil.scenario.parse import load_scenario
from hil.scenario.schedule import schedule
from host_tools.cli.main import main
from tests.hil.deaf_rig import TAKES_SECONDS
from tests.hil.suite_session import ROOT
from tests.integration.support import null_artifact

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = """\
[scenario]
name = "faults at once"
duration_seconds = 7.0
seed = 5

[[fault]]
kind = "network_silent"
at_seconds = 0.3
for_seconds = 0.7
jitter_seconds = 0.3

[[fault]]
kind = "power_cut"
at_seconds = 2.0
for_seconds = 0.3

[[fault]]
kind = "agent_killed"
at_seconds = 4.6
for_seconds = 0.3

[[fault]]
kind = "sensor_gone"
at_seconds = 2.0

[[fault]]
kind = "throttled"
at_seconds = 3.5

[[load]]
at_seconds = 1.5
for_seconds = 3.0
processes = 2

[expect]
missing_messages_max = 80
"""


@pytest.mark.slow
def test_the_command_plays_a_scenario_and_says_what_did_not_come_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(FAULTS)
    artifact = str(null_artifact(tmp_path / "null.ewa"))
    command = ["hil", "scenario", "run", str(file), "--rig", "local", "--rig-artifact", artifact]
    assert main([*command, "--json", "--seed", "9"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["seed"], told["starts"], told["unmet"]) == (9, 3, [])
    done = [(one["verb"], one["kind"]) for one in told["played"]]
    assert done.count(("fault", "power_cut")) == done.count(("undo", "power_cut")) == 1
    assert [one["planned_seconds"] for one in told["played"]] == sorted(
        round(one.at_seconds, 3) for one in schedule(load_scenario(file), 9)
    )
    file.write_text(
        '[scenario]\nname = "x"\nduration_seconds = 0.5\n[expect]\nevents = ["model_switched"]\ninferences_min = 100000\n'
    )
    assert main(["hil", "scenario", "run", str(file)]) == 4
    said = capsys.readouterr().err.splitlines()[-1]
    assert "event model_switched was not told" in said
    assert "expected at least 100000" in said
    assert "--seed 0" in said


def test_the_command_shows_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(FAULTS)
    assert main(["hil", "scenario", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "faults at once: 7 s; needs network, power, thermal" in shown
    assert "power_cut" in shown
    assert main(["hil", "scenario", "show", str(file), "--json"]) == 0
    actions = json.loads(capsys.readouterr().out)
    assert len(actions) == 12
    assert {
        "planned_seconds": 2.3,
        "verb": "undo",
        "kind": "power_cut",
        "value": 0.0,
        "watts": 0.0,
    } in actions
    with pytest.raises(SystemExit, match="2"):
        main(["hil", "scenario", "show", str(file), "--seed=-5"])
    assert (
        "--seed: expected a whole number from 0 to 9223372036854775807, got '-5'" in capsys.readouterr().err
    )
    assert main(["hil", "boards"]) == 0
    assert "local" in capsys.readouterr().out
    assert main(["hil", "boards", "--json"]) == 0
    assert "ssh" in json.loads(capsys.readouterr().out)["kinds"]
    assert main(["hil", "scenario", "show", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_scenario_in_the_document_comes_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "hil.md").read_text()
    file = tmp_path / "document.toml"
    file.write_text(text[text.index("[scenario]") :].partition("```")[0])
    artifact = str(null_artifact(tmp_path / "null.ewa"))
    assert main(["hil", "scenario", "run", str(file), "--rig-artifact", artifact]) == 0, (
        capsys.readouterr().err
    )


HURRIED = """\
[scenario]
name = "two minutes"
duration_seconds = 120.0

[agent.source]
kind = "null"
rate_hz = 1.0

[agent.telemetry]
interval_seconds = 5.0

[agent.mqtt]
resend_seconds = 60.0

[[temperature]]
at_seconds = 0.0
celsius = 40.0

[[rail]]
name = "VDD_CPU"
at_seconds = 60.0
watts = 2.5

[[battery]]
at_seconds = 0.0
charge_ratio = 0.5
watts = -3.0

[[battery]]
at_seconds = 110.0
charge_ratio = 0.25

[[fault]]
kind = "network_cut"
at_seconds = 20.0
for_seconds = 40.0

[expect]
inferences_min = 80
events = ["reconnected"]
"""


def test_a_scenario_is_played_in_a_hurry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hurried.toml"
    file.write_text(HURRIED)
    assert main(["hil", "scenario", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "two minutes: 120 s; needs battery, network, rails, thermal" in shown
    assert shown.splitlines()[1:] == [
        "      0.00 s  temperature                   40 C",
        "      0.00 s  battery                       0.5  -3 W, evenly to 0.25  0 W at 110.00 s",
        "     20.00 s  fault        network_cut      0",
        "     60.00 s  undo         network_cut      0",
        "     60.00 s  rail         VDD_CPU          2.5",
        "    110.00 s  battery                       0.25  0 W",
    ]
    artifact = str(null_artifact(tmp_path / "null.ewa"))
    command = ["hil", "scenario", "run", str(file), "--rig-artifact", artifact]
    begin = time.monotonic()
    assert main([*command, "--json", "--hurry", "20"]) == 0
    assert time.monotonic() - begin < 100.0, "two minutes, and the agent's start and end"
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["unmet"], told["starts"], told["missing_messages"]) == ([], 1, 0)
    assert max(one["at_seconds"] for one in told["played"]) >= 110.0
    (rail,) = [one for one in told["played"] if one["verb"] == "rail"]
    assert (rail["kind"], rail["value"]) == ("VDD_CPU", 2.5)
    charges = [one["value"] for one in told["played"] if one["verb"] == "battery"]
    assert (charges[0], charges[-1]) == (0.5, 0.25)
    assert len(charges) <= 111, "moves that are past when their turn comes are left out"
    assert main([*command, "--hurry", "0.5"]) == 2
    assert "hurry: expected 1 to 1000 seconds in a true one, got 0.5" in capsys.readouterr().err


MOVED_WHILE_OFF = """\
[scenario]
name = "moved while off"
duration_seconds = 12.0

[[temperature]]
at_seconds = 0.0
celsius = 30.0

[[temperature]]
at_seconds = 10.0
celsius = 70.0

[[fault]]
kind = "sensor_gone"
at_seconds = 0.6
for_seconds = 1.0

[[fault]]
kind = "power_cut"
at_seconds = 3.0
for_seconds = 2.0

[[fault]]
kind = "throttled"
at_seconds = 3.5
for_seconds = 0.5

[[fault]]
kind = "sensor_gone"
at_seconds = 4.0
for_seconds = 5.0

[[load]]
at_seconds = 2.5
for_seconds = 8.0

[expect]
missing_messages_max = 80
"""


def test_a_board_that_is_off_is_told_when_it_is_back_and_a_sensor_that_is_gone_stays_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "told.jsonl"
    monkeypatch.setenv("EDGEWRIGHT_TEST_TOLD", str(record))
    board = tmp_path / "deaf.toml"
    board.write_text(
        '[board]\nkind = "tests.hil.deaf_rig:open_rig"\ntargets = ["x86_64-onnxruntime"]\n[resource]\n'
    )
    file = tmp_path / "moved.toml"
    file.write_text(MOVED_WHILE_OFF)
    artifact = str(null_artifact(tmp_path / "null.ewa"))
    command = ["hil", "scenario", "run", str(file), "--rig", str(board), "--rig-artifact", artifact]
    assert main([*command, "--json"]) == 0, capsys.readouterr().err
    told = [json.loads(line) for line in record.read_text().splitlines()]
    done = [one["what"] for one in told]
    gone, back = done.index("gone"), [at for at, what in enumerate(done) if what == "celsius"]
    off, on = done.index("off"), done.index("on")
    first_back = min(at for at in back if at > gone)
    assert told[first_back]["value"] >= 36.0, "it is back after the second, with what it is by then"
    assert done[off : on + 1] == ["off", "on"], "nothing is said to a board that is off"
    assert told[on]["at"] - told[off]["at"] >= 1.99, "off for two seconds, though it went off late"
    assert done.count("celsius") <= 12.0 / TAKES_SECONDS, "of a curve only what is due"
    after = done[on + 1 :]
    assert after.index("gone") < after.index("celsius"), "the sensor went while the board was off"
    assert "throttled" in after[: after.index("celsius")], "what was undone while it was off is undone"
    assert told[-1]["value"] == 70.0
    assert 65.0 <= told[on + 1 + after.index("celsius")]["value"] <= 70.0


def test_a_rig_that_lacks_what_a_scenario_needs_is_refused_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.toml").write_text(
        '[board]\nkind = "local"\nsensors = "board"\ntargets = ["cortex-a-tflite"]\n'
    )
    file = tmp_path / "faults.toml"
    file.write_text(FAULTS)
    assert main(["hil", "scenario", "run", str(file), "--rig", str(tmp_path / "plain.toml")]) == 2
    assert "needs thermal, which rig 'plain' does not have" in capsys.readouterr().err
