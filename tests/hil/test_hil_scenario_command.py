"""Scenarios by the command: played, shown, and refused where the rig lacks what they need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hil.scenario.parse import load_scenario
from hil.scenario.schedule import schedule
from host_tools.cli.main import main
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
missing_messages_max = 60
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
    assert (told["seed"], told["starts"], told["unmet"]) == (9, 2, [])
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
    assert len(json.loads(capsys.readouterr().out)) == 10
    assert main(["hil", "boards"]) == 0
    assert "local" in capsys.readouterr().out
    assert main(["hil", "boards", "--json"]) == 0
    assert "ssh" in json.loads(capsys.readouterr().out)["kinds"]
    assert main(["hil", "scenario", "show", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


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
