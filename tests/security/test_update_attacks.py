"""Attacks on updates, one test each: a real repository, a real HTTP server, the device's own code. docs/security.md lists them."""

from __future__ import annotations

import json
import time
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tuf.api.metadata import Metadata, TargetFile

from device_agent.contract.digest import digest_of, digest_of_file
from device_agent.update.children import Children
from device_agent.update.jobs import TrialJob
from device_agent.update.occurrences import (
    CheckFailed,
    Fetched,
    FetchFailed,
    NothingDesired,
    Offered,
    TrialFailed,
    Tried,
)
from host_tools.repository import repository, role_keys, signed_folder
from host_tools.repository.roles import RULES
from tests.integration.support import null_artifact, onnx_artifact, wait_until
from tests.integration.update_repository import TARGET, Fleet
from tests.security.forged_archive import Part, forge, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.server.close()


def artifact(folder: Path, name: str = "m-1.ewa", **options: Any) -> Path:
    return null_artifact(folder / name, target=options.pop("target", TARGET), **options)


def offered(fleet: Fleet) -> Offered:
    answer = fleet.check()
    assert isinstance(answer, Offered), answer
    return answer


def refused(answer: object) -> str:
    assert isinstance(answer, CheckFailed), answer
    return answer.code


def changed(path: Path, *, at: int = -60) -> bytes:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    return bytes(data)


def trial(fleet: Fleet, path: Path, **changes: Any) -> object:
    """Try an artifact in a real child process."""
    answers: list[object] = []
    job = TrialJob(
        artifact=str(path),
        digest=digest_of_file(path),
        max_bytes=1 << 30,
        targets=(TARGET,),
        engine="auto",
        threads=1,
        **{"model_max_bytes": 0, "memory_max_bytes": 4 << 30, "cpu_max_seconds": 60, **changes},
    )
    Children(answers.append).start(job, timeout_seconds=60.0)
    wait_until(lambda: answers, what="the trial ends")
    return answers[0]


def test_what_is_signed_and_desired_is_offered_fetched_and_loads(fleet: Fleet, tmp_path: Path) -> None:
    assert isinstance(fleet.check(), NothingDesired)
    path = artifact(tmp_path)
    fleet.offer(path, counter=1)
    offer = offered(fleet)
    assert (offer.release.digest, offer.serial) == (digest_of_file(path), 1)
    assert fleet.fetch(offer) == Fetched()
    assert isinstance(trial(fleet, fleet.store.path(offer.release.digest)), Tried)


def test_a_tampered_payload_is_not_stored(fleet: Fleet, tmp_path: Path) -> None:
    path = artifact(tmp_path)
    fleet.offer(path, counter=1)
    fleet.server.answers[".m-1.ewa"] = changed(path)
    offer = offered(fleet)
    answer = fleet.fetch(offer)
    assert isinstance(answer, FetchFailed)
    assert (answer.code, answer.mismatch) == ("digest_mismatch", True)
    assert not fleet.store.holds(offer.release.digest)
    assert not fleet.part(offer).exists()


def test_a_tampered_timestamp_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    document = json.loads(fleet.metadata("timestamp.json").read_bytes())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    fleet.server.answers["timestamp.json"] = json.dumps(document).encode()
    assert refused(fleet.check()) == "metadata_unsigned"


def test_metadata_signed_by_too_few_keys_are_refused(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    path = max(fleet.metadata("").glob("*.targets.json"), key=lambda one: int(one.name.split(".")[0]))
    document = json.loads(path.read_bytes())
    assert len(document["signatures"]) == RULES["targets"].threshold == 2
    document["signatures"].pop()
    path.write_text(json.dumps(document))
    assert refused(fleet.check()) == "metadata_unsigned"


def test_one_key_twice_is_not_two_keys(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    path = max(fleet.metadata("").glob("*.targets.json"), key=lambda one: int(one.name.split(".")[0]))
    document = json.loads(path.read_bytes())
    document["signatures"][1] = document["signatures"][0]
    path.write_text(json.dumps(document))
    assert refused(fleet.check()) in ("metadata_unsigned", "metadata_mismatch")


def test_an_old_version_replayed_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    old = fleet.metadata("timestamp.json").read_bytes()
    fleet.offer(artifact(tmp_path, "m-2.ewa", latency_seconds=0.002), counter=2)
    assert offered(fleet).release.counter == 2
    fleet.server.answers["timestamp.json"] = old
    assert refused(fleet.check()) == "metadata_replayed"


def test_frozen_metadata_are_noticed_when_they_expire_and_fresh_ones_are_taken_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    offered(fleet)
    fleet.expire_timestamp()
    assert refused(fleet.check()) == "metadata_expired"
    fleet.repository.refresh()
    offered(fleet)


def test_where_one_role_has_ended_nothing_is_taken_until_it_is_signed_anew(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    for role in ("targets", "fleet", "model-small", "root"):
        with monkeypatch.context() as patched:
            for module in (repository, role_keys, signed_folder):
                patched.setattr(module, "expires", lambda _: datetime(2020, 1, 1, tzinfo=timezone.utc))
            fleet.repository.refresh([role])
        fleet.repository.refresh()  # snapshot and timestamp hold
        assert fleet.repository.signed.ends()[role].year == 2020
        assert refused(fleet.check()) == "metadata_expired", role
        fleet.repository.refresh([role])
        offered(fleet)


@pytest.mark.parametrize("role", ["snapshot", "fleet", "model-small"])
def test_files_of_two_states_of_the_repository_are_not_mixed(fleet: Fleet, tmp_path: Path, role: str) -> None:
    """All but one file are of the new state; each is signed, none has expired, and the device never saw the old one."""

    def newest() -> Path:
        found = fleet.metadata("").glob(f"*.{role}.json")
        return max(found, key=lambda one: int(one.name.split(".")[0]))

    fleet.offer(artifact(tmp_path), counter=1)
    old, kept = newest(), newest().read_bytes()
    fleet.offer(artifact(tmp_path, "m-2.ewa", latency_seconds=0.002), counter=2)
    assert newest() != old
    newest().write_bytes(kept)
    assert refused(fleet.check()) in ("metadata_replayed", "metadata_mismatch")


def test_one_artifacts_bytes_under_anothers_name_are_not_stored(fleet: Fleet, tmp_path: Path) -> None:
    """Both are signed, by the same key, for the same model and target."""
    one, other = artifact(tmp_path), artifact(tmp_path, "m-2.ewa", latency_seconds=0.003)
    fleet.offer(one, counter=1)
    fleet.offer(other, counter=2)
    fleet.server.answers[".m-2.ewa"] = one.read_bytes()
    offer = offered(fleet)
    assert offer.release.digest == digest_of_file(other)
    answer = fleet.fetch(offer)
    assert isinstance(answer, FetchFailed)
    assert not fleet.store.holds(offer.release.digest)


def test_endless_data_end_at_the_signed_length(fleet: Fleet, tmp_path: Path) -> None:
    path = artifact(tmp_path)
    fleet.offer(path, counter=1)

    def endless() -> Iterator[tuple[float, bytes]]:
        while True:
            yield 0.0, path.read_bytes()

    fleet.server.answers[".m-1.ewa"] = endless
    offer = offered(fleet)
    answer = fleet.fetch(offer)
    assert isinstance(answer, FetchFailed)
    assert answer.code == "endless_data"
    assert fleet.part(offer).stat().st_size <= offer.size_bytes


def test_endless_metadata_are_cut(fleet: Fleet) -> None:
    def endless() -> Iterator[tuple[float, bytes]]:
        while True:
            yield 0.0, b" " * 65_536

    fleet.server.answers["timestamp.json"] = endless
    assert refused(fleet.check()) == "metadata_oversized"


def test_slow_data_are_broken_off_and_go_on_from_there(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_agent.update.child._RATE_WINDOW_SECONDS", 0.3)
    path = artifact(tmp_path)
    fleet.offer(path, counter=1)
    offer = offered(fleet)

    def slow() -> Iterator[tuple[float, bytes]]:
        for byte in path.read_bytes():
            yield 0.05, bytes([byte])

    fleet.server.answers[".m-1.ewa"] = slow
    began = time.monotonic()
    answer = fleet.fetch(offer, min_bytes_per_second=1_000.0)
    assert isinstance(answer, FetchFailed)
    assert answer.code == "slow_data"
    assert time.monotonic() - began < 20.0, "the whole file would take a minute and more"
    have = fleet.part(offer).stat().st_size
    assert 0 < have < offer.size_bytes
    del fleet.server.answers[".m-1.ewa"]
    assert fleet.fetch(offer) == Fetched()
    assert fleet.server.asked[-1][1] == f"bytes={have}-"


def test_slow_metadata_are_broken_off(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_agent.update.child._RATE_WINDOW_SECONDS", 0.3)
    fleet.offer(artifact(tmp_path), counter=1)

    whole = fleet.metadata("timestamp.json").read_bytes()

    def slow() -> Iterator[tuple[float, bytes]]:
        for byte in whole:
            yield 0.05, bytes([byte])

    fleet.server.answers["timestamp.json"] = slow
    began = time.monotonic()
    assert refused(fleet.check(min_bytes_per_second=1_000.0)) == "slow_data"
    assert time.monotonic() - began < 0.05 * len(whole), "the whole file would take longer"
    del fleet.server.answers["timestamp.json"]
    offered(fleet)


def test_a_server_that_says_nothing_is_left(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    offer = offered(fleet)
    fleet.server.answers[".m-1.ewa"] = lambda: iter([(30.0, b"x")])
    answer = fleet.fetch(offer, stall_seconds=0.3)
    assert isinstance(answer, FetchFailed)
    assert answer.code == "slow_data"


def test_a_zip_bomb_is_refused_by_the_trial_unread(fleet: Fleet, tmp_path: Path) -> None:
    """A member that unpacks to 512 MiB, with sizes that are true, sizes that lie, and a size beyond the format's own."""
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = squeezed.compress(bytes(512 << 20)) + squeezed.flush()
    assert len(data) < 1 << 20
    for size in (512 << 20, len(data), 100, 0xFFFF_FFF0):
        bomb = tmp_path / "bomb.ewa"
        parts = parts_of()
        parts[1].method, parts[1].size, parts[1].data, parts[1].crc32 = 8, size, data, 0
        bomb.write_bytes(forge(parts))
        answer = trial(fleet, bomb, memory_max_bytes=384 << 20)
        assert isinstance(answer, TrialFailed)
        assert answer.code == "archive", answer


def test_a_signed_artifact_that_takes_all_memory_takes_only_its_trial(fleet: Fleet, tmp_path: Path) -> None:
    heavy = onnx_artifact(tmp_path / "heavy.ewa", ballast_bytes=96 << 20)
    answer = trial(fleet, heavy, model_max_bytes=48 << 20)
    assert isinstance(answer, TrialFailed)
    assert answer.code == "memory_budget"
    assert "engine.memory_max_bytes: loading and testing the model added" in answer.message
    assert isinstance(trial(fleet, onnx_artifact(tmp_path / "light.ewa"), model_max_bytes=48 << 20), Tried)


@pytest.mark.parametrize("name", [b"../../etc/cron.d/x", b"/etc/passwd", b"a/../../x"])
def test_a_zip_slip_writes_nothing(fleet: Fleet, tmp_path: Path, name: bytes) -> None:
    evil = tmp_path / "slip.ewa"
    evil.write_bytes(forge([*parts_of(), Part(name=name, data=b"x")]))
    before = sorted(tmp_path.rglob("*"))
    answer = trial(fleet, evil)
    assert isinstance(answer, TrialFailed)
    assert answer.code in ("archive", "contract")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_symlink_in_the_archive_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    evil = tmp_path / "link.ewa"
    parts = parts_of()
    parts[1].mode = 0o120777
    evil.write_bytes(forge(parts))
    answer = trial(fleet, evil)
    assert isinstance(answer, TrialFailed)
    assert answer.code == "archive"


def test_a_symlink_where_the_download_goes_is_not_followed(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    offer = offered(fleet)
    victim = tmp_path / "victim"
    victim.write_bytes(b"keep me")
    fleet.part(offer).parent.mkdir(parents=True)
    fleet.part(offer).symlink_to(victim)
    answer = fleet.fetch(offer)
    assert isinstance(answer, FetchFailed)
    assert answer.code == "storage"
    assert victim.read_bytes() == b"keep me"


def test_an_oversized_manifest_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    evil = tmp_path / "large.ewa"
    evil.write_bytes(forge(parts_of(manifest=b'{"x":"' + b"a" * (64 << 20) + b'"}')))
    answer = trial(fleet, evil)
    assert isinstance(answer, TrialFailed)
    assert answer.code == "archive"
    assert "manifest.json: expected at most" in answer.message


def test_an_oversized_desired_state_is_refused(fleet: Fleet) -> None:
    targets = fleet.repository.signed.targets("fleet")
    data = b'{"x":"' + b"a" * 100_000 + b'"}'
    targets.targets["desired/device/dev-1.json"] = TargetFile.from_data(
        "desired/device/dev-1.json", data, ["sha256"]
    )
    fleet.repository.signed.renew({"fleet": targets})
    assert refused(fleet.check()) == "metadata_oversized"


def test_the_wrong_target_is_refused_before_it_is_fetched(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path, target="cortex-a-tflite"), counter=1)
    assert refused(fleet.check()) == "wrong_target"
    assert not [path for path, _ in fleet.server.asked if path.endswith(".ewa")]


def test_another_devices_desired_state_is_not_taken(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1, subject="device/dev-2")
    fleets = fleet.repository.signed.targets("fleet")
    others = fleets.targets["desired/device/dev-2.json"]
    fleets.targets["desired/device/dev-1.json"] = TargetFile(
        others.length, others.hashes, "desired/device/dev-1.json", others.unrecognized_fields
    )
    fleet.repository.signed.renew({"fleet": fleets})
    served = fleet.folder / "repository" / "targets" / "desired" / "device"
    (data,) = [path.read_bytes() for path in served.glob("*.dev-2.json")]
    (served / f"{digest_of(data).partition(':')[2]}.dev-1.json").write_bytes(data)
    assert refused(fleet.check()) == "contract"


def test_the_fleets_key_alone_brings_no_new_artifact(fleet: Fleet, tmp_path: Path) -> None:
    path = fleet.offer(artifact(tmp_path), counter=1)
    fleets = fleet.repository.signed.targets("fleet")
    evil = artifact(tmp_path, "evil.ewa", latency_seconds=0.009)
    fleets.targets[path] = TargetFile.from_file(path, str(evil), ["sha256"])
    fleet.repository.signed.renew({"fleet": fleets})
    assert offered(fleet).release.digest == digest_of_file(tmp_path / "m-1.ewa"), "models are not its to sign"


def test_a_models_key_alone_makes_nobody_run_it(fleet: Fleet, tmp_path: Path) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    fleet.repository.add(artifact(tmp_path, "m-2.ewa", latency_seconds=0.002), release_counter=2)
    assert offered(fleet).release.counter == 1


def test_rotated_keys_are_followed_from_the_old_root_and_the_old_ones_sign_nothing_any_more(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.offer(artifact(tmp_path), counter=1)
    offered(fleet)
    stolen = fleet.metadata("timestamp.json").read_bytes()
    (old,) = fleet.repository._keys.of("timestamp")
    for role in ("timestamp", "root", "targets", "snapshot", "fleet", "model-small", "root"):
        fleet.repository.rotate(role)
        offered(fleet)
    metadata = Metadata.from_bytes(stolen)
    metadata.signed.version = 1_000
    metadata.sign(old)
    fleet.server.answers["timestamp.json"] = metadata.to_bytes()
    assert refused(fleet.check()) == "metadata_unsigned"


def test_a_repository_that_is_away_is_told_as_such(fleet: Fleet) -> None:
    fleet.server.close()
    assert refused(fleet.check()) == "transfer"
