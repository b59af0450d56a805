"""`Attestation`: what tests on a board showed of one artifact. An in-toto Statement, `test-result/v0.1`; one run is one of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from device_agent.contract.document import read_document, write_document
from device_agent.contract.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"
RUN_VERSION: Final = "1.0"
MAX_BYTES: Final = 1 << 22
"""Longest statement that is read."""
_MAX_TESTS: Final = 10_000
_MAX_NAMES: Final = 256
_MAX_TEXT: Final = 1024
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TEST: Final = re.compile(r"(?P<suite>[a-z][a-z0-9_]{0,63})::.+", re.DOTALL)
_EXTENSION: Final = "edgewright_run"

TestOutcome = Literal["passed", "marginal", "failed", "skipped"]
Result = Literal["PASSED", "WARNED", "FAILED"]
_LISTS: Final[Mapping[str, TestOutcome]] = MappingProxyType(
    {"passedTests": "passed", "warnedTests": "marginal", "failedTests": "failed"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedTest:
    """One test.

    Attributes:
        name: ``SUITE::TEST``.
        outcome: ``marginal`` has passed, with a number nearer to its limit than its margin.
        reason: Why it was skipped, or how it failed; empty else.
        measurements_digest: SHA-256 of its measurements as canonical JSON (`hil.gate`), ``sha256:…``.
    """

    name: str
    outcome: TestOutcome
    reason: str = ""
    measurements_digest: str

    @property
    def suite(self) -> str:
        """Its suite."""
        return self.name.partition("::")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """One run of suites, of one artifact, on one rig.

    Attributes:
        artifact: Name of the artifact's file.
        digest: Of the artifact, ``sha256:…``.
        release: ``NAME-VERSION`` that the artifact says it is of.
        target: Its capability profile.
        rig: Name of the board.
        suites: Those that were run.
        tests: In order.
        configuration: What it was run with: name of a suite's or board's file to its digest.
        facts: Board, commit and versions of the tools.
        started_seconds: Unix time, whole seconds.
        finished_seconds: Likewise.
    """

    artifact: str
    digest: str
    release: str
    target: str
    rig: str
    suites: tuple[str, ...]
    tests: tuple[AttestedTest, ...]
    configuration: Mapping[str, str] = field(hash=False)
    facts: Mapping[str, str] = field(hash=False)
    started_seconds: int
    finished_seconds: int

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "configuration", MappingProxyType(dict(self.configuration)))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    @property
    def result(self) -> Result:
        """What the tests say together; a run in which nothing passed has failed."""
        counts = Counter(test.outcome for test in self.tests)
        if counts["failed"] or not counts["passed"] + counts["marginal"]:
            return "FAILED"
        return "WARNED" if counts["marginal"] else "PASSED"


def encode_statement(attestation: Attestation) -> bytes:
    """Write an attestation as the JSON of its in-toto Statement; byte-stable.

    Raises:
        ContractError: A text cannot be written as JSON.
    """
    tests = attestation.tests
    run = {
        "schema_version": RUN_VERSION,
        "release": attestation.release,
        "target": attestation.target,
        "rig": attestation.rig,
        "suites": list(attestation.suites),
        "skipped_tests": [test.name for test in tests if test.outcome == "skipped"],
        "reasons": {test.name: _short(test.reason) for test in tests if test.reason},
        "measurements": {test.name: test.measurements_digest for test in tests},
        "facts": {name: _short(value) for name, value in attestation.facts.items() if value},
        "started": _time(attestation.started_seconds),
        "finished": _time(attestation.finished_seconds),
    }
    predicate = {
        "result": attestation.result,
        "configuration": [
            {"name": name, "digest": _digest_set(digest)}
            for name, digest in attestation.configuration.items()
        ],
        **{key: [test.name for test in tests if test.outcome == outcome] for key, outcome in _LISTS.items()},
        _EXTENSION: run,
    }
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": attestation.artifact, "digest": _digest_set(attestation.digest)}],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return write_document(statement, where="attestation")


def decode_statement(data: bytes, *, where: str) -> Attestation:
    """Read an attestation; fields that are not known are passed over, as in-toto demands.

    Raises:
        ContractError: It is no test result of ours, or does not agree with itself.
    """
    statement = Fields(read_document(data, where=where, max_bytes=MAX_BYTES), where=where)
    statement.choice("_type", (STATEMENT_TYPE,))
    statement.choice("predicateType", (PREDICATE_TYPE,))
    (subject,) = statement.children("subject", least=1, most=1)
    predicate = statement.child("predicate")
    run = predicate.child(_EXTENSION)
    run.schema_version(RUN_VERSION)
    attestation = Attestation(
        artifact=subject.text("name"),
        digest=_digest(subject),
        release=run.text("release"),
        target=run.text("target"),
        rig=run.text("rig"),
        suites=run.texts("suites", least=1, most=_MAX_NAMES),
        tests=_tests(predicate, run),
        configuration={
            one.text("name"): _digest(one)
            for one in predicate.children("configuration", least=0, most=_MAX_NAMES)
        },
        facts=run.text_map("facts", most=_MAX_NAMES),
        started_seconds=_seconds(run, "started"),
        finished_seconds=_seconds(run, "finished"),
    )
    result = predicate.choice("result", ("PASSED", "WARNED", "FAILED"))
    if result != attestation.result:
        predicate.refuse("result", f"{attestation.result}, which the tests say", result)
    if attestation.finished_seconds < attestation.started_seconds:
        run.refuse("finished", "a time that is not before `started`", run.text("finished"))
    return attestation


def _tests(predicate: Fields, run: Fields) -> tuple[AttestedTest, ...]:
    listed: list[tuple[str, TestOutcome]] = [
        (name, outcome)
        for key, outcome in _LISTS.items()
        for name in predicate.texts(key, least=0, most=_MAX_TESTS)
    ]
    listed += [(name, "skipped") for name in run.texts("skipped_tests", least=0, most=_MAX_TESTS)]
    names = [name for name, _ in listed]
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        predicate.refuse("passedTests", "every test in one list, once", twice)
    reasons = run.text_map("reasons", most=_MAX_TESTS)
    measurements = run.child("measurements")
    for name in names:
        if not _TEST.fullmatch(name):
            predicate.refuse("passedTests", "names like SUITE::TEST", name)
    return tuple(
        AttestedTest(
            name=name,
            outcome=outcome,
            reason=reasons.get(name, ""),
            measurements_digest=measurements.digest(name),
        )
        for name, outcome in listed
    )


def _digest_set(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def _digest(fields: Fields) -> str:
    return f"sha256:{fields.child('digest').text('sha256', pattern=_SHA256)}"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime(_TIME)


def _seconds(fields: Fields, key: str) -> int:
    text = fields.text(key)
    try:
        return int(datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc).timestamp())
    except ValueError:
        fields.refuse(key, "a time like 2026-01-31T23:59:59Z", text)
