"""What `edgewright fleet sample` does: bring a fleet up to play with, say how, and end it in order."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.progress import ProgressBars
from host_tools.fleet.rollout.plan_file import read_plan_file
from host_tools.fleet.sample.bringing_up import bring_up
from host_tools.fleet.sample.ending import EndAsked, listening
from host_tools.fleet.sample.folder import open_sample
from host_tools.fleet.serve.answers.rollouts import PlanAnswer

if TYPE_CHECKING:
    from host_tools.fleet.sample.bringing_up import Addresses
    from host_tools.fleet.sample.folder import SampleFolder

_LOOK_SECONDS: Final = 0.5
_SHOWN: Final = """\
A fleet of {devices} devices is up, on this machine only.

  fleet page     {fleet}/   asks for the token; REST: {fleet}/api/v1
  review page    {review}/
  token          {token}   (admin)
  logs           {logs}/

In another terminal:

  export EDGEWRIGHT_FLEET={fleet} EDGEWRIGHT_FLEET_TOKEN="$(cat '{token}')"

  # a better release: four canaries, its gate passes, then all
  edgewright fleet rollouts create '{path}/good.toml' && edgewright fleet rollouts submit good
  # a slow one, when that has finished: its gate stops it at the canaries and takes it back
  edgewright fleet rollouts create '{path}/slow.toml' && edgewright fleet rollouts submit slow
  # why, with the figures, at any time
  edgewright fleet rollouts explain slow

Ctrl-C ends all of it; the same command goes on."""


def run_sample(options: argparse.Namespace) -> int:
    """Run it until Ctrl-C."""
    with listening() as ending, open_sample(Path(options.folder), devices=options.devices) as folder:
        try:
            with ExitStack() as stack:
                with ProgressBars(quiet=False) as progress:
                    sample = stack.enter_context(
                        bring_up(
                            folder,
                            port=options.port,
                            check_seconds=options.check_every,
                            connect=_server,
                            plan_of=_plan,
                            ending=ending,
                            progress=progress,
                        )
                    )
                print(_told(folder, sample.addresses), flush=True)
                while True:
                    for end in sample.processes.newly_ended():
                        _say(f"{end}\nThe rest goes on; Ctrl-C and the same command start it again.")
                    ending.pause(_LOOK_SECONDS)
        except EndAsked:
            _say("Ended. Nothing is left running; the same command goes on.")
    return 0


def _told(folder: SampleFolder, addresses: Addresses) -> str:
    return _SHOWN.format(
        devices=folder.devices,
        fleet=addresses.fleet,
        review=addresses.review,
        token=folder.token,
        logs=folder.logs,
        path=folder.path,
    )


def _server(address: str, token: Path) -> FleetServer:
    return FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None))


def _plan(path: Path) -> object:
    return PlanAnswer.model_validate(read_plan_file(path)).model_dump(mode="json")


def _say(text: str) -> None:
    print(f"edgewright: {text}", file=sys.stderr, flush=True)
