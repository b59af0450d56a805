"""What ``edgewright hil gate`` and ``edgewright hil key`` do; their arguments are in `host_tools.cli.hil`."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of_file
from device_agent.durable import write_durably
from hil.board import load_board
from hil.gate.attesting import attest
from hil.gate.plan import artifacts_of, plan_runs
from hil.gate.session import SuiteOptions, run_session, suite_names
from host_tools.errors import InputError, OutputError, VerificationError
from host_tools.repository.attestation_bundle import SUFFIX, public_pem, sign
from host_tools.repository.keys import KeyRing

if TYPE_CHECKING:
    import argparse

    from securesystemslib.signer import Signer

    from hil.gate.plan import Run
    from hil.gate.session import SessionResults
    from host_tools.repository.attestation import Attestation

_BUNDLE = f"attestations{SUFFIX}"


def run_key(options: argparse.Namespace) -> int:
    """Make the key that attestations are signed with, or find it; write its public half; return the exit status.

    Raises:
        InputError: A file of the folder is no key.
        OutputError: It cannot be written.
    """
    folder = Path(options.keys)
    ring = KeyRing(folder)
    signers = ring.of(options.key) or ring.make(options.key, 1)
    public = folder / f"{options.key}.pub"
    _put(public, public_pem(signers[-1].public_key))
    print(public)
    return 0


def run_gate(options: argparse.Namespace) -> int:
    """Test a release's artifacts on rigs and sign what came of it; return the exit status.

    Raises:
        InputError: Artifacts, rigs or suites do not fit together, or there is no key to sign with.
        BoardError: There is no such board, or its file is wrong.
        ContractError: A file is no artifact.
        TrustError: It is not what its manifest says.
        RigError: A rig broke; what was finished before is written.
        OutputError: It cannot be written.
        VerificationError: A test failed, or none passed; the attestations say so. Or a file was changed while it was tested.
    """
    signer = _signer(Path(options.keys), options.key)
    runs = plan_runs(_artifacts(options), options.rigs)
    suites = SuiteOptions(
        suites=tuple(dict.fromkeys(options.suites)) or suite_names(),
        soak_seconds=options.rig_soak,
        cuts=options.rig_cuts,
        heat_seconds=options.rig_heat,
        offline_windows=options.rig_offline_windows,
    )
    folder = Path(options.out)
    _make(folder)
    _remove(folder / _BUNDLE)  # should the first rig break, what is there would be taken for this gate's word
    attestations: list[Attestation] = []
    lines: list[bytes] = []
    for run in runs:
        print(f"{run.name}: {run.archive.path.name}", file=sys.stderr)
        started = time.time()
        results = run_session(run, suites, folder)
        _require_unchanged(run, results)
        attestation = attest(run, results, suites, started_seconds=started, finished_seconds=time.time())
        attestations.append(attestation)
        lines.append(sign(attestation, signer))
        _put(folder / _BUNDLE, b"".join(lines))  # a rig that breaks later takes nothing of it
    _tell(attestations, folder / _BUNDLE, as_json=options.json)
    bad = [f"{one.rig}-{one.target}" for one in attestations if one.result == "FAILED"]
    if bad:
        raise VerificationError(
            f"{', '.join(bad)}: tests failed, or none passed.", hint=f"{folder} has a page for each."
        )
    return 0


def _signer(folder: Path, name: str) -> Signer:
    signers = KeyRing(folder).of(name)
    if not signers:
        raise InputError(
            f"{folder}: has no key {name!r}.", hint=f"Make it: edgewright hil key --keys {folder}"
        )
    return signers[-1]


def _artifacts(options: argparse.Namespace) -> list[Path]:
    if not options.repository:
        return [Path(one) for one in options.release]
    if len(options.release) != 1:
        raise InputError(
            f"--repository: expected one release, got {len(options.release)}.",
            hint="Name it as `edgewright release list` does: NAME-VERSION.",
        )
    return artifacts_of(options.release[0], Path(options.repository))


def _require_unchanged(run: Run, results: SessionResults) -> None:
    """Refuse to sign for an artifact or a board's file what was shown of another that has taken its place: a gate may take hours.

    Raises:
        VerificationError: One is not what it was when the gate began, or was not when it was tested.
    """
    path, digest = run.archive.path, run.archive.digest
    now = _digest_or_none(path)
    tested = results.facts.get("artifact_digest", digest)  # a suite without an agent opens none
    if {now, tested} != {digest}:
        raise VerificationError(
            f"{run.name}: {path.name} was changed since the gate began: expected {digest}, tested was {tested}, there is now "
            f"{now or 'none'}. Nothing is signed of this run.",
            hint="Run the gate anew on files that nobody writes to meanwhile.",
        )
    if load_board(run.rig).digest != run.board.digest:
        raise VerificationError(
            f"{run.name}: {run.board.origin} was changed since the gate began. Nothing is signed of this run.",
            hint="Run the gate anew on files that nobody writes to meanwhile.",
        )


def _digest_or_none(path: Path) -> str | None:
    try:
        return digest_of_file(path)
    except OSError:
        return None


def _tell(attestations: list[Attestation], bundle: Path, *, as_json: bool) -> None:
    if as_json:
        runs = [
            {"rig": one.rig, "target": one.target, "digest": one.digest, "result": one.result}
            for one in attestations
        ]
        print(json.dumps({"attestations": str(bundle), "runs": runs}))
        return
    for one in attestations:
        counts = Counter(test.outcome for test in one.tests)
        counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        print(f"{one.rig:16} {one.target:24} {one.result:8} {counted}")
    print(f"signed: {bundle}")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}.") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {error.strerror or error}.") from error


def _put(path: Path, data: bytes) -> None:
    try:
        write_durably(path, data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error
