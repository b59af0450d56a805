"""`edgewright fleet`, of what devices run: the arguments of releases and rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.cli.arguments import count
from host_tools.cli.fleet_arguments import add_client, add_group, add_most

if TYPE_CHECKING:
    import argparse


def add_releases(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``releases``."""
    actions = add_group(verbs, "releases", "releases that rollouts may bring: list, add")
    listing = add_client(actions, "releases", "list", "show releases", "preparing")
    listing.add_argument("--model", help="only of this model")
    add_most(listing)
    add = add_client(
        actions, "releases", "add", "tell the server of what `edgewright release create` signed", "preparing"
    )
    add.add_argument("file", metavar="FILE.json", help="the repository's releases/NAME-VERSION.json")


def add_rollouts(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``rollouts``."""
    actions = add_group(verbs, "rollouts", "rollouts: plan, order, look at, explain")
    listing = add_client(actions, "rollouts", "list", "show rollouts")
    listing.add_argument("--group", help="only of this group")
    listing.add_argument("--state", help="only in this state")
    add_most(listing)
    create = add_client(actions, "rollouts", "create", "plan a rollout")
    create.add_argument("file", metavar="PLAN.toml", help="the plan; docs/rollouts.md shows one")
    for name, text in (
        ("explain", "why each stage advanced, waits or stopped, with the figures"),
        ("jobs", "what each device owes it"),
        ("submit", "let a draft run, or ask its approver"),
        ("approve", "let it run"),
        ("approve-stage", "let the stage begin, or pass, that waits for it"),
        ("pause", "let no stage begin or pass"),
        ("resume", "let it go on"),
        ("abort", "end it; who has the release keeps it"),
        ("rollback", "take the release back from all who have it"),
        ("retry", "let devices whose jobs failed try again"),
    ):
        action = add_client(actions, "rollouts", name, text)
        action.add_argument("id", metavar="ID", help="the rollout")
        if name == "jobs":
            action.add_argument("--state", help="only in this state")
            action.add_argument("--result", choices=("none", "success", "failure"), help="only so ended")
            action.add_argument("--most", type=count, default=1_000, metavar="N", help="(default: 1000)")
