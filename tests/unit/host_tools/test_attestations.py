"""Attestations of tests on boards: what is written is read back, and a release takes only what bears it out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import ContractError, TrustError
from host_tools.cli.main import main
from host_tools.errors import InputError, VerificationError
from host_tools.fleet.field import releases
from host_tools.repository import repository as repository_module
from host_tools.repository.attestation import (
    Attestation,
    AttestedTest,
    decode_statement,
    encode_statement,
)
from host_tools.repository.attestation_bundle import (
    NamedKey,
    public_pem,
    read_bundle,
    read_public_key,
    sign,
)
from host_tools.repository.attestation_policy import SUITES, AttestationPolicy, require_attested
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact, write_ewa

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = 1_800_000_000
DAY = 86_400
NONE_MEASURED = f"sha256:{'4f' * 32}"


def one_test(name: str, outcome: Any = "passed", reason: str = "") -> AttestedTest:
    return AttestedTest(name=name, outcome=outcome, reason=reason, measurements_digest=NONE_MEASURED)


def attestation(digest: str = f"sha256:{'ab' * 32}", **changes: Any) -> Attestation:
    made = Attestation(
        artifact="small.ewa",
        digest=digest,
        release="small-1.2.0",
        target="x86_64-onnxruntime",
        rig="local",
        suites=("smoke", "parity"),
        tests=(one_test("smoke::test_up"), one_test("parity::test_outputs")),
        configuration={"hil/suites/test_smoke.py": f"sha256:{'cd' * 32}"},
        facts={"git_commit": "0123abc", "rig_description": "this machine"},
        started_seconds=NOW - 100,
        finished_seconds=NOW - 40,
    )
    return replace(made, **changes)


class Bench:
    """An artifact, a key, and a file of attestations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = ArtifactArchive.open(null_artifact(folder / "small.ewa"))
        self.signer = CryptoSigner.generate_ed25519()
        self.key = NamedKey(name="hil.pub", key=self.signer.public_key)
        self.bundle = folder / "gate.intoto.jsonl"

    def write(self, *attestations: Attestation, signer: CryptoSigner | None = None) -> Path:
        self.bundle.write_bytes(b"".join(sign(one, signer or self.signer) for one in attestations))
        return self.bundle

    def of_it(self, **changes: Any) -> Attestation:
        return attestation(**{"digest": self.archive.digest} | changes)

    def require(self, **policy: Any) -> list[Any]:
        asked = {"suites": ("smoke", "parity"), "max_age_days": 30.0, "keys": (self.key,)} | policy
        return require_attested(
            [self.archive], AttestationPolicy(bundles=(self.bundle,), **asked), now_seconds=NOW
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_attestation_is_an_in_toto_statement_that_says_what_the_tests_say() -> None:
    tests = (
        one_test("smoke::test_up"),
        one_test("latency::test_p90", "marginal"),
        one_test("heat::test_hot", "skipped", "no thermal"),
    )
    made = attestation(tests=tests)
    data = encode_statement(made)
    statement = json.loads(data)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [{"name": "small.ewa", "digest": {"sha256": "ab" * 32}}]
    predicate = statement["predicate"]
    assert (predicate["result"], predicate["warnedTests"]) == ("WARNED", ["latency::test_p90"])
    assert (predicate["passedTests"], predicate["failedTests"]) == (["smoke::test_up"], [])
    assert decode_statement(data, where="it") == made
    failed = attestation(tests=(*tests, one_test("soak::test_memory", "failed", "grew")))
    assert decode_statement(encode_statement(failed), where="it").result == "FAILED"
    assert attestation(tests=()).result == "FAILED", "of nothing nothing passed"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda it: it.update(_type="https://in-toto.io/Statement/v0.1"), "_type: expected one of"),
        (lambda it: it.update(predicateType="https://slsa.dev/provenance/v1"), "predicateType: expected one of"),
        (lambda it: it["subject"].append(it["subject"][0]), "subject: expected 1 to 1 items"),
        (lambda it: it["subject"][0]["digest"].update(sha256="AB"), "sha256: expected a text like"),
        (lambda it: it["predicate"].update(result="FAILED"), "result: expected PASSED, which the tests say"),
        (lambda it: it["predicate"]["failedTests"].append("smoke::test_up"), "every test in one list, once"),
        (lambda it: it["predicate"]["passedTests"].append("no suite"), "names like SUITE::TEST"),
        (lambda it: it["predicate"].pop("edgewright_run"), "edgewright_run is missing"),
        (lambda it: it["predicate"]["edgewright_run"].update(finished="yesterday"), "expected a time like"),
        (lambda it: it["predicate"]["edgewright_run"].update(started="2100-01-01T00:00:00Z"), "not before `started`"),
        (lambda it: it["predicate"]["edgewright_run"]["measurements"].clear(), "smoke::test_up is missing"),
    ],
)  # fmt: skip
def test_a_statement_that_does_not_agree_with_itself_is_refused(
    change: Callable[[Any], object], says: str
) -> None:
    statement = json.loads(encode_statement(attestation()))
    change(statement)
    with pytest.raises(ContractError, match=says):
        decode_statement(json.dumps(statement).encode(), where="it")


def test_fields_that_are_not_known_are_passed_over() -> None:
    statement = json.loads(encode_statement(attestation()))
    statement["predicate"]["edgewright_run"]["weather"] = "fine"
    statement["predicate"]["url"] = "https://ci.example/7"
    assert decode_statement(json.dumps(statement).encode(), where="it") == attestation()


@settings(deadline=None)  # a busy machine is no fault
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_of_any_kind_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(ContractError):
        decode_statement(data, where="it")


@settings(deadline=None)  # a busy machine is no fault
@given(at=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
def test_a_changed_byte_of_a_signed_statement_is_never_taken_for_another_statement(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    signer = CryptoSigner.generate_ed25519()
    line = bytearray(sign(attestation(), signer))
    line[at % (len(line) - 1)] = byte
    path = tmp_path_factory.mktemp("changed") / "gate.intoto.jsonl"
    path.write_bytes(line)
    try:
        read = read_bundle(path, [NamedKey(name="hil.pub", key=signer.public_key)])
    except (ContractError, TrustError, InputError):
        return
    assert [one.attestation for one in read] == [attestation()], "another way of writing the same"


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    for signer in (CryptoSigner.generate_ed25519(), CryptoSigner(generate_private_key(SECP256R1()))):
        path = tmp_path / f"{signer.public_key.keytype}.pub"
        path.write_bytes(public_pem(signer.public_key))
        read = read_public_key(path)
        assert isinstance(read.key, SSlibKey)
        assert (read.name, read.key) == (path.name, signer.public_key)
    for data in (b"no key", b""):
        (tmp_path / "none.pub").write_bytes(data)
        with pytest.raises(InputError, match="is no public key that can be read"):
            read_public_key(tmp_path / "none.pub")
    with pytest.raises(InputError, match="is no public key"):
        read_public_key(tmp_path / "away.pub")


def test_what_was_tested_and_passed_is_taken_and_what_is_of_others_left_out(bench: Bench) -> None:
    of_other = attestation(tests=(one_test("smoke::test_up", "failed", "of another artifact"),))
    bench.write(
        of_other,
        bench.of_it(tests=(one_test("smoke::test_up", "marginal"), one_test("parity::test_outputs", "skipped", "x"))),
        bench.of_it(rig="pi", tests=(one_test("parity::test_outputs"),)),
    )  # fmt: skip
    taken = bench.require()
    assert [one.attestation.rig for one in taken] == ["local", "pi"]
    assert b"".join(one.line for one in taken) == b"".join(
        bench.bundle.read_bytes().splitlines(keepends=True)[1:]
    )


def test_a_changed_file_is_refused(bench: Bench) -> None:
    bench.write(
        bench.of_it(tests=(one_test("smoke::test_up", "failed", "a"), one_test("parity::test_outputs")))
    )
    envelope = json.loads(bench.bundle.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert b"FAILED" in payload
    envelope["payload"] = base64.b64encode(payload.replace(b"FAILED", b"PASSED")).decode()
    bench.bundle.write_text(json.dumps(envelope))
    with pytest.raises(
        TrustError, match=r"gate.intoto.jsonl:1: its signature does not hold.*run the gate anew"
    ):
        bench.require()


def test_another_key_is_refused_and_both_are_named(bench: Bench) -> None:
    other = CryptoSigner.generate_ed25519()
    bench.write(bench.of_it(), signer=other)
    told = f"is signed by {other.public_key.keyid[:12]}, and not by hil.pub .{bench.key.key.keyid[:12]}.*--attestation-key"
    with pytest.raises(TrustError, match=told):
        bench.require()
    with pytest.raises(InputError, match="no key is trusted"):
        bench.require(keys=())
    assert len(bench.require(keys=(bench.key, NamedKey(name="b", key=other.public_key)))) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"digest": f"sha256:{'00' * 32}"}, "small.ewa: no attestation is of it .sha256:.*edgewright hil gate small.ewa"),
        ({"tests": (one_test("parity::test_outputs"), one_test("smoke::test_up", "failed", "3 LSB"))},
         "small.ewa: smoke::test_up failed on rig 'local': 3 LSB.*run the gate anew"),
        ({"finished_seconds": NOW - 31 * DAY, "started_seconds": NOW - 32 * DAY},
         "was tested on rig 'local' 31.0 days ago, expected at most 30.*edgewright hil gate"),
        ({"finished_seconds": NOW + 3600}, "was tested on rig 'local' 3600 s from now.*clock"),
        ({"tests": (one_test("smoke::test_up"),)}, "suite 'parity' was not run.*--suite parity --rig NAME"),
        ({"tests": (one_test("smoke::test_up"), one_test("parity::test_outputs", "skipped", "no golden samples"))},
         "suite 'parity' was skipped: no golden samples.*--attestation-suite NAME"),
    ],
)  # fmt: skip
def test_what_does_not_bear_out_a_release_is_refused_with_the_next_step(
    bench: Bench, changes: dict[str, Any], says: str
) -> None:
    bench.write(bench.of_it(**changes))
    with pytest.raises(VerificationError, match=says):
        bench.require()


def test_a_failure_on_one_rig_is_not_made_up_for_by_another(bench: Bench) -> None:
    bench.write(bench.of_it(), bench.of_it(rig="pi", tests=(one_test("smoke::test_up", "failed", "slow"),)))
    with pytest.raises(VerificationError, match="smoke::test_up failed on rig 'pi'"):
        bench.require()


def test_only_rigs_that_are_named_count(bench: Bench) -> None:
    bench.write(bench.of_it(), bench.of_it(rig="pi", tests=(one_test("parity::test_outputs"),)))
    assert len(bench.require(rigs=("local",))) == len(bench.require(rigs=("pi", "local"))) == 2
    with pytest.raises(VerificationError, match=r"suite 'smoke' was not run on 'pi'.*--suite smoke --rig pi"):
        bench.require(rigs=("pi",))
    with pytest.raises(
        VerificationError, match=r"was tested on 'local' or 'pi', expected one of 'jetson'.*--rig jetson"
    ):
        bench.require(rigs=("jetson",))
    bench.write(bench.of_it(), bench.of_it(rig="pi", tests=(one_test("smoke::test_up", "failed", "slow"),)))
    with pytest.raises(VerificationError, match="failed on rig 'pi'"):
        bench.require(rigs=("local",))  # a failure counts wherever it was


def test_a_suite_that_was_too_short_does_not_count(bench: Bench) -> None:
    soak = {"suites": ("soak",), "tests": (one_test("soak::test_memory"),)}
    bench.write(
        bench.of_it(**soak, facts={"soak_seconds": "30"}), bench.of_it(**soak, facts={"soak_seconds": "3600"})
    )
    assert len(bench.require(suites=("soak",), least={"soak": 3600.0})) == 2
    told = r"suite 'soak' passed with soak_seconds = 3600, expected at least 86400.*--suite soak"
    with pytest.raises(VerificationError, match=told):
        bench.require(suites=("soak",), least={"soak": 86_400.0})
    for facts in ({}, {"soak_seconds": "long"}, {"soak_seconds": "nan"}, {"soak_seconds": "-5"}):
        bench.write(bench.of_it(**soak, facts=facts))
        assert bench.require(suites=("soak",))
        with pytest.raises(VerificationError, match="expected at least 1"):
            bench.require(suites=("soak",), least={"soak": 1.0})


@pytest.mark.parametrize(
    ("least", "says"),
    [
        ({"smoke": 1.0}, "suite 'smoke' has no length.*offline, power_cuts, soak, sustained_heat"),
        ({"soak": 1.0}, "suite 'soak' is not asked for.*--attestation-suite soak"),
    ],
)
def test_a_length_that_would_ask_for_nothing_is_refused(
    bench: Bench, least: dict[str, float], says: str
) -> None:
    bench.write(bench.of_it())
    with pytest.raises(InputError, match=says):
        bench.require(least=least)


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (None, InputError, "cannot be read: No such file.*edgewright hil gate"),
        (b"\n \n", InputError, "holds no attestation"),
        (b"no JSON\n", ContractError, "gate.intoto.jsonl:1: not valid JSON"),
        (b'{"payloadType":"text/plain","payload":"","signatures":[]}', ContractError, "payloadType: expected one of"),
        (b'{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}', ContractError, "1 to 16 items"),
        (b'{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"a","sig":"?"}]}',
         ContractError, "sig: expected base64"),
    ],
)  # fmt: skip
def test_files_that_hold_no_attestations(
    bench: Bench, data: bytes | None, kind: type[Exception], says: str
) -> None:
    if data is not None:
        bench.bundle.write_bytes(data)
    with pytest.raises(kind, match=says):
        bench.require()


def test_a_file_that_is_too_long_is_not_read(bench: Bench) -> None:
    with bench.bundle.open("wb") as stream:
        stream.truncate((1 << 26) + 1)
    with pytest.raises(InputError, match="expected at most 67108864 bytes, got more"):
        bench.require()


def test_a_release_is_signed_only_with_its_attestations_which_are_kept(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, keys, public = bench.folder / "fleet", bench.folder / "keys", bench.folder / "hil.pub"
    repository = Repository(folder, KeyRing(keys))
    repository.init()
    public.write_bytes(public_pem(bench.signer.public_key))
    create = ["release", "create", str(bench.archive.path), f"--repository={folder}", f"--keys={keys}"]
    create += ["--allow-unverified=a network of nothing", f"--require-attestation={bench.bundle}"]
    bench.write(attestation())
    assert main([*create, f"--attestation-key={public}"]) == 4
    assert "no attestation is of it" in capsys.readouterr().err
    name = bench.archive.manifest.name
    assert repository.released(name) == {}, "nothing was signed"
    import time

    now = int(time.time())
    bench.write(bench.of_it(started_seconds=now - 9, finished_seconds=now))
    assert main([*create, f"--attestation-key={public}"]) == 4, "every suite that ships is asked for"
    assert f"suite {SUITES[0]!r} was not run" in capsys.readouterr().err
    assert main(create) == 2
    assert "no key is trusted" in capsys.readouterr().err
    suites = ["--attestation-suite=smoke", "--attestation-suite=parity"]
    assert main([*create, f"--attestation-key={public}", *suites, "--attestation-rig=pi"]) == 4
    assert "was tested on 'local', expected one of 'pi'" in capsys.readouterr().err
    assert main([*create, f"--attestation-key={public}", *suites, "--attestation-least=soak=60"]) == 2
    assert "suite 'soak' is not asked for" in capsys.readouterr().err
    for wrong in ("soak", "=60", "soak=0", "soak=long"):
        with pytest.raises(SystemExit, match="2"):
            main([*create, f"--attestation-least={wrong}"])
        assert "--attestation-least: expected" in capsys.readouterr().err
    assert main([*create, f"--attestation-key={public}", *suites, "--attestation-rig=local"]) == 0
    (kept,) = (folder / "releases").glob("*.intoto.jsonl")
    assert kept.read_bytes() == bench.bundle.read_bytes()
    assert main(["release", "list", f"--repository={folder}"]) == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "step"), [(releases, "require_attested"), (repository_module, "signed_name")]
)
def test_an_artifact_that_takes_the_place_of_the_attested_one_is_not_signed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    repository = Repository(bench.folder / "fleet", KeyRing(bench.folder / "keys"))
    repository.init()
    bench.write(bench.of_it())
    other = write_ewa(
        bench.folder / "other.ewa",
        replace(bench.archive.manifest, made_with={"another": "tool"}),
        {f"payload/{name.partition('/')[2]}": data for name, data in bench.archive.payload().items()},
    )
    done = getattr(module, step)

    def while_somebody_builds(*arguments: Any, **named: Any) -> Any:
        told = done(*arguments, **named)
        other.replace(bench.archive.path)
        return told

    monkeypatch.setattr(module, step, while_somebody_builds)
    policy = AttestationPolicy(bundles=(bench.bundle,), keys=(bench.key,), suites=("smoke",))
    with pytest.raises(TrustError, match=r"small\.ewa: expected sha256:.*, got sha256:"):
        releases.create_release(
            repository,
            bench.folder / "fleet",
            [bench.archive.path],
            created_by="x",
            created_seconds=NOW,
            unverified_because="a network of nothing",
            attestations=policy,
        )
    assert repository.released(bench.archive.manifest.name) == {}, "nothing was signed"


def test_options_of_attestations_without_one_are_refused(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ["release", "create", str(bench.archive.path), f"--repository={bench.folder}", "--keys=none"]
    assert main([*create, "--attestation-suite=smoke"]) == 2
    assert "say nothing without an attestation" in capsys.readouterr().err


def test_the_suites_that_are_asked_for_are_those_that_ship_and_need_no_second_artifact() -> None:
    from hil.gate.session import suite_names

    assert tuple(name for name in suite_names() if name != "latency_comparison") == SUITES
