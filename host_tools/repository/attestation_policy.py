"""What a release asks of the attestations of its artifacts: by whom, how new, which suites, where, how long, and that nothing failed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError, VerificationError
from host_tools.repository.attestation_bundle import read_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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
LENGTHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "soak": "soak_seconds",
        "sustained_heat": "heat_seconds",
        "power_cuts": "power_cuts_asked_for",
        "offline": "offline_windows",
    }
)
"""Suites that a gate is told how long to run, and the fact of an attestation that says it."""
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
        rigs: A suite counts only where it passed on one of these; empty: on any.
        least: Suite of `LENGTHS` to the least that its run must have been asked for, in the fact's own unit.
    """

    bundles: tuple[Path, ...]
    keys: tuple[NamedKey, ...]
    suites: tuple[str, ...] = SUITES
    max_age_days: float = MAX_AGE_DAYS
    rigs: tuple[str, ...] = ()
    least: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Make the mapping read-only, and refuse what would ask for nothing.

        Raises:
            InputError: A length is asked of a suite that has none, or that is not asked for.
        """
        object.__setattr__(self, "least", MappingProxyType(dict(self.least)))
        for suite in self.least:
            if suite not in LENGTHS:
                raise InputError(
                    f"--attestation-least: suite {suite!r} has no length.",
                    hint=f"Those that have one: {', '.join(sorted(LENGTHS))}.",
                )
            if suite not in self.suites:
                raise InputError(
                    f"--attestation-least: suite {suite!r} is not asked for.",
                    hint=f"Ask for it: --attestation-suite {suite}.",
                )


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
        VerificationError: An artifact is not covered, a test failed, a run is too old, or a suite is missing, was too short, or ran elsewhere.
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
    if policy.rigs and not any(one.rig in policy.rigs for one in of_it):
        raise VerificationError(
            f"{name}: was tested on {_listed(one.rig for one in of_it)}, expected one of {_listed(policy.rigs)}.",
            hint=_again(name, rig=policy.rigs[0]),
        )
    counting = [one for one in of_it if not policy.rigs or one.rig in policy.rigs]
    for suite in policy.suites:
        if not any(
            _passed(one, suite) and _length(one, suite) >= policy.least.get(suite, 0) for one in counting
        ):
            raise VerificationError(
                f"{name}: suite {suite!r} {_why_not(counting, suite, policy)}.",
                hint=f"{_again(name, suite, *policy.rigs[:1])}, or name the suites that are asked for: --attestation-suite NAME.",
            )


def _passed(one: Attestation, suite: str) -> bool:
    return any(test.suite == suite and test.outcome in ("passed", "marginal") for test in one.tests)


def _length(one: Attestation, suite: str) -> float:
    """Return how long a suite was asked to be, finite; 0 where that is not said, or by no number."""
    try:
        length = float(one.facts.get(LENGTHS.get(suite, ""), 0))
    except ValueError:
        return 0.0
    return max(length, 0.0) if math.isfinite(length) else 0.0


def _why_not(counting: Sequence[Attestation], suite: str, policy: AttestationPolicy) -> str:
    where = f" on {_listed(policy.rigs)}" if policy.rigs else ""
    if lengths := [_length(one, suite) for one in counting if _passed(one, suite)]:
        return f"passed with {LENGTHS[suite]} = {max(lengths):g}{where}, expected at least {policy.least[suite]:g}"
    reasons = [test.reason for one in counting for test in one.tests if test.suite == suite]
    return f"was skipped{where}: {_first_line(reasons[0])}" if reasons else f"was not run{where}"


def _listed(rigs: Iterable[str]) -> str:
    return " or ".join(repr(rig) for rig in dict.fromkeys(rigs))


def _again(name: str, suite: str = "", rig: str = "NAME") -> str:
    chosen = f" --suite {suite}" if suite else ""
    return f"Test it: edgewright hil gate {name}{chosen} --rig {rig} --keys DIR"


def _first_line(reason: str) -> str:
    """Return what pytest says last of a failure, which is what failed; of a skip, the reason."""
    lines = [line for line in reason.splitlines() if line.strip()]
    told = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")] or lines
    return (told[0] if told else "no reason was given").rstrip(".")
