"""`edgewright fleet`: the arguments; what the commands do is in `fleet_serving`, `fleet_preparing`, `fleet_asking` and `fleet_sample`."""

from __future__ import annotations

import argparse

from host_tools.cli.fleet_arguments import EXAMPLES
from host_tools.cli.fleet_device_arguments import add_claims, add_devices, add_groups
from host_tools.cli.fleet_rollout_arguments import add_releases, add_rollouts
from host_tools.cli.fleet_serving_arguments import add_audit, add_sample, add_serve, add_token


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "fleet",
        help="provision devices and bring releases to them in stages",
        description="Provision devices and bring releases to them in stages.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_sample(verbs)
    add_serve(verbs)
    add_token(verbs)
    add_groups(verbs)
    add_claims(verbs)
    add_releases(verbs)
    add_devices(verbs)
    add_rollouts(verbs)
    add_audit(verbs)
