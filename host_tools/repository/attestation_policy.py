"""What a release asks of the attestations of its artifacts: by whom, how new, which suites, and that nothing failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError, VerificationError
from host_tools.repository.attestation_bundle import read_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device_agent.contract.archive import ArtifactArchive
    from host_tools.repository.attestation import Attestation
    from host_tools.repository.attestation_bundle import NamedKey, SignedAttestation

SUITES: Final = (
    "corrupt_block",
    "enrolment",
    "heat",
    "latency",
    "offline",
    "parity",
    "power_cuts",
    "rig",
    "rig_senses",
    "smoke",
    "soak",
    "supplies",
    "sustained_heat",
    "telemetry_loss",
    "update_faults",
)
"""The suites that ship (`hil/suites`), but for `latency_comparison`, which needs a second artifact."""
MAX_AGE_DAYS: Final = 30.0
_DAY_SECONDS: Final = 86_400.0
_AHEAD_SECONDS: Final = 300.0
"""How far the clock of a bench may be ahead of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationPolicy:
    """What is asked for.

    Attributes:
        bundles: Files of attestations.
        keys: Who may have signed; one signature is enough.
        suites: Each of them must have passed, of every artifact, on at least one rig.
        max_age_days: Since the end of a run.
    """

    bundles: tuple[Path, ...]
    keys: tuple[NamedKey, ...]
    suites: tuple[str, ...] = SUITES
    max_age_days: float = MAX_AGE_DAYS


def require_attested(
    archives: Sequence[ArtifactArchive], policy: AttestationPolicy, *, now_seconds: float
) -> list[SignedAttestation]:
    """Check that every artifact was tested as the policy asks; return the attestations of them.

    Whatever the files say of other artifacts does not count. What they say of these must be good all of it: a failure is not made up for by
    another rig.

    Raises:
        InputError: A file cannot be read, or no key is named.
        ContractError: A file is no bundle of attestations.
        TrustError: A signature is by another key, or does not hold.
        VerificationError: An artifact is not covered, a test failed, a run is too old, or a suite is missing.
    """
    if not policy.keys:
        raise InputError(
            "--require-attestation: no key is trusted.",
            hint="Name who may sign: --attestation-key FILE.pub.",
        )
    given = [one for bundle in policy.bundles for one in read_bundle(bundle, policy.keys)]
    taken: list[SignedAttestation] = []
    for archive in archives:
        name = archive.path.name
        signed = [one for one in given if one.attestation.digest == archive.digest]
        of_it = [one.attestation for one in signed]
        if not of_it:
            raise VerificationError(f"{name}: no attestation is of it ({archive.digest}).", hint=_again(name))
        for one in of_it:
            _require_passed(one, name)
            _require_fresh(one, name, policy, now_seconds)
        _require_suites(of_it, name, policy)
        taken += signed
    return taken


def _require_passed(one: Attestation, name: str) -> None:
    failed = [test for test in one.tests if test.outcome == "failed"]
    if failed:
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise VerificationError(
            f"{name}: {failed[0].name}{others} failed on rig {one.rig!r}: {_first_line(failed[0].reason)}.",
            hint="Mend what the gate's page shows, and run the gate anew.",
        )


def _require_fresh(one: Attestation, name: str, policy: AttestationPolicy, now_seconds: float) -> None:
    age_days = (now_seconds - one.finished_seconds) / _DAY_SECONDS
    if age_days > policy.max_age_days:
        raise VerificationError(
            f"{name}: was tested on rig {one.rig!r} {age_days:.1f} days ago, expected at most {policy.max_age_days:g}.",
            hint=_again(name),
        )
    if now_seconds + _AHEAD_SECONDS < one.finished_seconds:
        raise VerificationError(
            f"{name}: was tested on rig {one.rig!r} {one.finished_seconds - now_seconds:.0f} s from now.",
            hint="Put the clock of this machine or of the bench right.",
        )


def _require_suites(of_it: Sequence[Attestation], name: str, policy: AttestationPolicy) -> None:
    tests = [test for one in of_it for test in one.tests]
    for suite in policy.suites:
        of_suite = [test for test in tests if test.suite == suite]
        if any(test.outcome in ("passed", "marginal") for test in of_suite):
            continue
        why = next((f"was skipped: {_first_line(test.reason)}" for test in of_suite), "was not run")
        raise VerificationError(
            f"{name}: suite {suite!r} {why}.",
            hint=f"{_again(name, suite)}, or name the suites that are asked for: --attestation-suite NAME.",
        )


def _again(name: str, suite: str = "") -> str:
    chosen = f" --suite {suite}" if suite else ""
    return f"Test it: edgewright hil gate {name}{chosen} --rig NAME --keys DIR"


def _first_line(reason: str) -> str:
    """Return what pytest says last of a failure, which is what failed; of a skip, the reason."""
    lines = [line for line in reason.splitlines() if line.strip()]
    told = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")] or lines
    return (told[0] if told else "no reason was given").rstrip(".")
