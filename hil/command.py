"""What ``edgewright hil`` does; its arguments are in `host_tools.cli.hil`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.agent import Agent
from hil.artifact import open_artifact, sample_artifact
from hil.board import board_names, load_board
from hil.broker import Broker
from hil.rig import KINDS, open_rig
from hil.scenario.listing import listing
from hil.scenario.parse import load_scenario
from hil.scenario.run import run_scenario
from hil.scenario.schedule import schedule
from hil.telemetry import listening
from hil.virtual.build import build_image
from host_tools.errors import VerificationError

if TYPE_CHECKING:
    import argparse

    from hil.scenario.run import Outcome
    from hil.scenario.scenario import Scenario

_DEVICE = "scenario"


def run_boards(options: argparse.Namespace) -> int:
    """List the boards that ship, and the kinds of rig; return the exit status."""
    boards = [load_board(name) for name in board_names()]
    if options.json:
        listed = [
            {"name": one.name, "kind": one.section.kind, "targets": list(one.section.targets)}
            for one in boards
        ]
        print(json.dumps({"boards": listed, "kinds": list(KINDS)}))
        return 0
    for one in boards:
        print(f"{one.name:16} {one.section.kind:8} {one.section.description}")
    print(f"Kinds of rig: {', '.join(KINDS)}. A board of yours is a TOML file: docs/hil.md.")
    return 0


def run_build(options: argparse.Namespace) -> int:
    """Build a virtual board's image; return the exit status.

    Raises:
        BoardError: There is no such virtual board.
        RigError: It cannot be built here.
    """
    folder = Path(options.images) if options.images else None
    build_image(options.name, folder=folder, fresh=options.fresh, tell=_tell)
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print what a scenario does when; return the exit status.

    Raises:
        ScenarioError: The file is wrong.
    """
    scenario = load_scenario(Path(options.file))
    actions = schedule(scenario, options.seed)
    if options.json:
        print(json.dumps([one.document() for one in actions], ensure_ascii=False))
        return 0
    print("\n".join(listing(scenario, actions)))
    return 0


def run_run(options: argparse.Namespace) -> int:
    """Play a scenario on a rig; return the exit status.

    Raises:
        ScenarioError: The file is wrong.
        BoardError: There is no such board, or its file is wrong.
        InputError: It cannot be played in such a hurry.
        UnsupportedFeatureError: The rig lacks what the scenario needs.
        RigError: The rig failed.
        AgentError: The agent does not come up.
        VerificationError: What was expected did not come true.
    """
    scenario = load_scenario(Path(options.file))
    with tempfile.TemporaryDirectory(prefix="ew-hil-") as folder:
        outcome = _play(scenario, options, Path(folder))
    if options.json:
        print(json.dumps(outcome.document(), ensure_ascii=False))
    else:
        print(
            f"{scenario.name}: {outcome.inferences} results, {outcome.errors} errors, "
            f"{outcome.missing_messages} messages missing, {outcome.starts} starts, seed {outcome.seed}"
        )
    if outcome.unmet:
        raise VerificationError(
            f"{options.file}: {'; '.join(outcome.unmet)}.",
            hint=f"Play the same again with --seed {outcome.seed}.",
        )
    return 0


def _play(scenario: Scenario, options: argparse.Namespace, folder: Path) -> Outcome:
    (folder / "rig").mkdir()
    broker = Broker(folder / "broker")  # before the rig is opened, for there may be none here
    rig = open_rig(options.rig, folder / "rig")
    try:
        named = options.rig_artifact
        path = Path(named) if named else sample_artifact(folder / "sample", rig.board.section.targets[0])
        artifact = open_artifact(path)
        broker.start()
        with listening(broker) as telemetry:
            agent = Agent(
                rig, artifact=artifact, telemetry=telemetry, broker_port=broker.port, device=_DEVICE
            )
            return run_scenario(scenario, agent, broker, seed=options.seed, hurry=options.hurry, tell=_tell)
    finally:
        broker.stop()
        rig.close()


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
