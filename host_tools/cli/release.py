"""`edgewright release`: bring a version of a model, for all its targets, into the signed repository; show what is there."""

from __future__ import annotations

import argparse
import getpass
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from host_tools.cli.arguments import above_zero, count, examples_of
from host_tools.cli.moments import to_the_second

if TYPE_CHECKING:
    from host_tools.fleet.field.releases import MadeRelease
    from host_tools.repository.attestation_policy import AttestationPolicy
    from host_tools.repository.repository import Repository

_EPILOG: Final = """\
examples:
  edgewright release create build/model-1.1.0-cortex-a-tflite.ewa build/model-1.1.0-x86_64-onnxruntime.ewa --repository fleet/ --keys keys/
  edgewright release create build/*.ewa --repository fleet/ --keys keys/ --require-attestation gate.intoto.jsonl --attestation-key hil.pub
  edgewright release list --repository fleet/
  edgewright release show model-1.1.0 --repository fleet/

docs/releases.md has the whole story.
"""
_NO_KEYS: Final = Path("/nonexistent")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "release",
        help="check and sign a version of a model for all its targets",
        description="Releases in a signed repository: the artifacts of one version of a model; docs/releases.md.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = _action(actions, "create", "check artifacts and sign them, all or none")
    create.add_argument("artifacts", nargs="+", metavar="FILE.ewa", help="one for each target")
    create.add_argument("--keys", required=True, metavar="DIR", help="folder of private keys")
    create.add_argument(
        "--counter",
        type=count,
        metavar="N",
        help="place in the order of the model's releases (default: next)",
    )
    create.add_argument(
        "--allow-unverified",
        default="",
        metavar="REASON",
        help="let artifacts pass whose verification did not; the reason is kept",
    )
    create.add_argument(
        "--require-attestation",
        action="append",
        default=[],
        dest="attestations",
        metavar="FILE",
        help="sign only what these attestations of `edgewright hil gate` bear out; as often as there are files",
    )
    create.add_argument(
        "--attestation-key",
        action="append",
        default=[],
        dest="attestation_keys",
        metavar="FILE.pub",
        help="public key of who may attest; as often as there are such",
    )
    create.add_argument(
        "--attestation-suite",
        action="append",
        default=[],
        dest="attestation_suites",
        metavar="NAME",
        help="suite that must have passed, of every artifact (default: all that ship but latency_comparison)",
    )
    create.add_argument(
        "--attestation-days",
        type=above_zero,
        default=30.0,
        metavar="DAYS",
        help="how old a run may be (default: 30)",
    )
    create.add_argument(
        "--attestation-rig",
        action="append",
        default=[],
        dest="attestation_rigs",
        metavar="NAME",
        help="suites count only where they passed on this rig, or on another that is named (default: any)",
    )
    create.add_argument(
        "--attestation-least",
        action="append",
        default=[],
        type=_least,
        metavar="SUITE=NUMBER",
        help="how long a suite must have been: soak and sustained_heat (seconds), power_cuts, offline (windows)",
    )
    create.add_argument("--by", default="", metavar="NAME", help="who makes it (default: the user)")
    _action(actions, "list", "show all releases")
    show = _action(actions, "show", "show one release")
    show.add_argument("id", metavar="NAME-VERSION", help="the release")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples_of(_EPILOG, name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action.add_argument("--repository", required=True, metavar="DIR", help="the repository")
    action.add_argument("--json", action="store_true", help="print JSON")
    action.set_defaults(run=f"host_tools.cli.release:run_{name}")
    return action


def run_create(options: argparse.Namespace) -> int:
    """Make a release."""
    from host_tools.fleet.field.releases import create_release  # noqa: PLC0415  needs packages of the host

    folder = Path(options.repository)
    made = create_release(
        _repository(folder, Path(options.keys)),
        folder,
        [Path(path) for path in options.artifacts],
        created_by=options.by or getpass.getuser(),
        created_seconds=time.time(),
        counter=options.counter,
        unverified_because=options.allow_unverified,
        attestations=_policy(options),
    )
    _print([made], as_json=options.json)
    return 0


def _least(text: str) -> tuple[str, float]:
    """Read ``SUITE=NUMBER``."""
    suite, equals, value = text.partition("=")
    if not suite or not equals:
        raise argparse.ArgumentTypeError(f"expected SUITE=NUMBER, like soak=3600, got {text!r}")
    return suite, above_zero(value)


def _policy(options: argparse.Namespace) -> AttestationPolicy | None:
    """Return what is asked of attestations; None: none are."""
    from host_tools.errors import InputError  # noqa: PLC0415  see above
    from host_tools.repository.attestation_bundle import read_public_key  # noqa: PLC0415  see above
    from host_tools.repository.attestation_policy import SUITES, AttestationPolicy  # noqa: PLC0415  see above

    if not options.attestations:
        asked = (
            options.attestation_keys,
            options.attestation_suites,
            options.attestation_rigs,
            options.attestation_least,
        )
        if any(asked):
            raise InputError(
                "--attestation-key, -suite, -rig and -least say nothing without an attestation.",
                hint="Name it: --require-attestation FILE.",
            )
        return None
    return AttestationPolicy(
        bundles=tuple(Path(path) for path in options.attestations),
        keys=tuple(read_public_key(Path(path)) for path in options.attestation_keys),
        suites=tuple(options.attestation_suites) or SUITES,
        max_age_days=options.attestation_days,
        rigs=tuple(options.attestation_rigs),
        least=dict(options.attestation_least),
    )


def run_list(options: argparse.Namespace) -> int:
    """Show all releases."""
    from host_tools.fleet.field.releases import read_releases  # noqa: PLC0415  see above

    folder = Path(options.repository)
    made = read_releases(folder)
    if options.json:
        _print(made, as_json=True)
        return 0
    for one in made:
        release = one.release
        print(
            f"{release.id}  counter {release.counter}  {to_the_second(release.created_seconds)} by {release.created_by}  "
            f"{', '.join(release.artifacts)}{'  unverified' if one.unverified_because else ''}"
        )
    if not made:
        print(f"{folder}: no releases yet; make one with `edgewright release create`.")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Show one release, and whether it is signed as it says."""
    from host_tools.errors import InputError, VerificationError  # noqa: PLC0415  see above
    from host_tools.fleet.field.releases import read_releases, unsigned_artifacts  # noqa: PLC0415  see above

    folder = Path(options.repository)
    made = read_releases(folder)
    found = next((one for one in made if one.release.id == options.id), None)
    if found is None:
        raise InputError(
            f"{options.id}: is no release of {folder}.",
            hint=f"There are: {', '.join(one.release.id for one in made) or 'none'}.",
        )
    _print([found], as_json=options.json)
    missing = unsigned_artifacts(found.release, _repository(folder, _NO_KEYS))
    if missing:
        raise VerificationError(
            f"{options.id}: the repository does not sign its artifacts for {', '.join(missing)} as it says: {'; '.join(missing.values())}.",
            hint="Make it anew: edgewright release create.",
        )
    return 0


def _print(made: list[MadeRelease], *, as_json: bool) -> None:
    if as_json:
        from host_tools.fleet.field.releases import encode  # noqa: PLC0415  see above

        print(json.dumps([json.loads(encode(one)) for one in made], indent=1, ensure_ascii=False))
        return
    for one in made:
        release = one.release
        print(f"{release.id}: {release.model} {release.version}, counter {release.counter}")
        print(f"  made {to_the_second(release.created_seconds)} by {release.created_by}")
        if one.unverified_because:
            print(f"  not verified, let through because: {one.unverified_because}")
        for target, artifact in release.artifacts.items():
            print(f"  {target}: {artifact.path}, {artifact.size_bytes} bytes, {artifact.digest}")


def _repository(folder: Path, keys: Path) -> Repository:
    from host_tools.repository.keys import KeyRing  # noqa: PLC0415  they need packages of the host
    from host_tools.repository.repository import Repository  # noqa: PLC0415

    return Repository(folder, KeyRing(keys))
