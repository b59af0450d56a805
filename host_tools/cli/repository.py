"""`edgewright repository`: make and sign a repository of artifacts for the devices' updates."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.model_names import MAIN_MODEL
from host_tools.cli.arguments import examples_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.repository.repository import Repository

_EPILOG: Final = """\
examples:
  edgewright repository init fleet/ --keys keys/
  edgewright repository add fleet/ build/model-1.0.0-cortex-a-tflite.ewa --keys keys/ --release-counter 1
  edgewright repository release fleet/ --group lab models/model/model-1.0.0-cortex-a-tflite.ewa --keys keys/
  edgewright repository release fleet/ --device door-7 plates=models/plates/plates-1.1.0-cortex-a-tflite.ewa --keys keys/
  edgewright repository refresh fleet/ --keys keys/
  edgewright repository refresh fleet/ --keys keys/ --role targets --role model-plates
  edgewright repository rotate fleet/ --keys keys/ --role fleet

`add` prints the name that `release` takes. docs/updates.md has the whole story.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "repository",
        help="make and sign a repository for updates",
        description="A folder of signed files that any web server can serve; docs/updates.md.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="make keys and first metadata")
    add = actions.add_parser("add", help="add an artifact")
    release = actions.add_parser("release", help="say what a device or a group shall run")
    refresh = actions.add_parser(
        "refresh", help="sign anew what expires: the timestamp, and roles that are named"
    )
    rotate = actions.add_parser("rotate", help="give a role new keys")
    for name, action in (
        ("init", init),
        ("add", add),
        ("release", release),
        ("refresh", refresh),
        ("rotate", rotate),
    ):
        action.add_argument("folder", metavar="DIR", help="the repository")
        action.add_argument("--keys", required=True, metavar="DIR", help="folder of private keys")
        action.formatter_class = argparse.RawDescriptionHelpFormatter
        action.epilog = examples_of(_EPILOG, name)
        action.set_defaults(run=f"host_tools.cli.repository:{name}")
    add.add_argument("artifact", metavar="FILE.ewa", help="the artifact")
    add.add_argument(
        "--release-counter",
        type=int,
        required=True,
        metavar="N",
        help="its place in the order of releases, from 1",
    )
    release.add_argument(
        "paths",
        nargs="+",
        metavar="[NAME=]models/…/FILE.ewa",
        help="signed names, once for each capability profile: for the model of [artifact], or for the table [[model]] of this name; with "
        "nothing behind '=' nothing is said of it any more. Models that are not named stay as they were",
    )
    subject = release.add_mutually_exclusive_group(required=True)
    subject.add_argument("--device", metavar="ID", help="for one device")
    subject.add_argument("--group", metavar="NAME", help="for a group")
    release.add_argument("--allow-downgrade", action="store_true", help="permit a release below the floor")
    refresh.add_argument(
        "--role",
        action="append",
        default=[],
        dest="roles",
        metavar="ROLE",
        help="sign this role anew too, with the keys that it has: root, targets, fleet or model-NAME; repeatable",
    )
    rotate.add_argument(
        "--role", required=True, help="root, targets, snapshot, timestamp, fleet or model-NAME"
    )
    rotate.add_argument(
        "--uri",
        action="append",
        default=[],
        dest="uris",
        metavar="hsm:ID?label=TOKEN",
        help="a key in hardware in place of a new file; as often as the role has keys; PIN in EDGEWRIGHT_KEY_PIN",
    )


def init(options: argparse.Namespace) -> int:
    """Make a repository."""
    root = _repository(options).init()
    print(f"Give {root} to the devices (update.root). Keep {options.keys} away from what serves the files.")
    return 0


def add(options: argparse.Namespace) -> int:
    """Add an artifact."""
    print(_repository(options).add(Path(options.artifact), release_counter=options.release_counter))
    return 0


def release(options: argparse.Namespace) -> int:
    """Say what shall run."""
    subject = f"device/{options.device}" if options.device else f"group/{options.group}"
    models = _by_name(options.paths)
    wanted = _repository(options).release(
        subject,
        models.pop(MAIN_MODEL, []),
        models=models,
        allow_downgrade=options.allow_downgrade,
    )
    print(
        f"{wanted.subject}: desired state {wanted.serial}, for {', '.join(wanted.artifacts) or 'no main model'}"
    )
    for name, one in wanted.models.items():
        print(f"  model {name}: for {', '.join(one.artifacts)}")
    return 0


def refresh(options: argparse.Namespace) -> int:
    """Sign anew, and say until when each role's signature holds."""
    repository = _repository(options)
    repository.refresh(options.roles)
    for role, end in repository.signed.ends().items():
        print(f"{role}: until {end:%Y-%m-%d %H:%M} UTC")
    return 0


def rotate(options: argparse.Namespace) -> int:
    """Change keys."""
    _repository(options).rotate(options.role, uris=options.uris)
    return 0


def _by_name(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths of each model; those without a name are the main model's."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, path = text.rpartition("=")
        found.setdefault(name if equals else MAIN_MODEL, []).extend([path] if path else [])
    return found


def _repository(options: argparse.Namespace) -> Repository:
    from host_tools.repository.keys import KeyRing  # noqa: PLC0415  they need packages of the host
    from host_tools.repository.repository import Repository  # noqa: PLC0415

    return Repository(Path(options.folder), KeyRing(Path(options.keys)))
