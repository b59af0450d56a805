"""`edgewright release`: what it signs, what it refuses, and that it can be broken off."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.archive import ArtifactArchive, member_of
from device_agent.contract.errors import ContractError, TrustError
from host_tools.cli.main import main
from host_tools.errors import ConflictError, InputError, StoreError, VerificationError
from host_tools.fleet.field.publisher import Publisher
from host_tools.fleet.field.releases import (
    create_release,
    decode,
    encode,
    read_release,
    read_releases,
    unsigned_artifacts,
)
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact, write_ewa

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = ("x86_64-onnxruntime", "cortex-a-tflite")


def artifact(
    path: Path,
    *,
    target: str = TARGETS[0],
    model: str = "small",
    version: str = "1.2.0",
    verdict: str = "pass",
    report: bytes | None = b"",
    latency: float = 0.002,
) -> Path:
    """An artifact with a verification report; ``report`` is another, or None for none."""
    archive = ArtifactArchive.open(null_artifact(path, target=target, latency_seconds=latency))
    members = {f"payload/{name.partition('/')[2]}": data for name, data in archive.payload().items()}
    manifest = replace(archive.manifest, name=model, version=version, verdict=verdict)  # type: ignore[arg-type]
    if report is not None:
        data = report or json.dumps({"target": target, "verdict": verdict}).encode()
        members["report.json"] = data
        manifest = replace(manifest, members=(member_of("report.json", data),))
    return write_ewa(path, manifest, members)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.keys = folder / "fleet", folder / "keys"
        self.repository = Repository(self.folder, KeyRing(self.keys))
        self.repository.init()

    def create(self, *paths: Path, **options: Any) -> Any:
        return create_release(
            self.repository, self.folder, paths, created_by="ann", created_seconds=9.0, **options
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def both(folder: Path, version: str = "1.2.0", **options: Any) -> list[Path]:
    return [artifact(folder / f"{version}-{target}.ewa", target=target, version=version, **options) for target in TARGETS]  # fmt: skip


def test_a_release_has_all_targets_and_the_next_counter(bench: Bench, tmp_path: Path) -> None:
    first = bench.create(*both(tmp_path)).release
    assert (first.id, first.counter, set(first.artifacts)) == ("small-1.2.0", 1, set(TARGETS))
    second = bench.create(*both(tmp_path, "1.3.0")).release
    assert (second.counter, bench.create(*both(tmp_path, "1.4.0"), counter=9).release.counter) == (2, 9)
    assert [one.release.id for one in read_releases(bench.folder)] == [
        "small-1.2.0",
        "small-1.3.0",
        "small-1.4.0",
    ]
    assert unsigned_artifacts(second, bench.repository) == {}
    state = bench.repository.release("group/lab", [one.path for one in first.artifacts.values()])
    assert {target: one.digest for target, one in state.artifacts.items()} == {
        target: one.digest for target, one in first.artifacts.items()
    }


def test_a_repository_that_cannot_be_read_is_no_fault_of_the_release(bench: Bench, tmp_path: Path) -> None:
    release = bench.create(*both(tmp_path)).release
    publisher = Publisher(bench.repository)
    publisher.require_signed(release)
    with pytest.raises(ConflictError, match="counter: expected 1, got 7"):
        publisher.require_signed(replace(release, counter=7))
    (bench.folder / "metadata" / "timestamp.json").write_bytes(b"no JSON")
    with pytest.raises(StoreError, match="the repository cannot be read"):
        publisher.require_signed(release)


def test_a_release_that_was_broken_off_or_is_repeated_stays_the_same(bench: Bench, tmp_path: Path) -> None:
    paths = both(tmp_path)
    made = bench.create(*paths)
    file = bench.folder / "releases" / "small-1.2.0.json"
    metadata = sorted((bench.folder / "metadata").iterdir())
    file.unlink()  # as if killed before it was written
    assert bench.create(*paths) == made
    assert read_release(file) == made
    assert sorted((bench.folder / "metadata").iterdir()) == metadata, "nothing is signed again"


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({}, {"model": "large", "target": TARGETS[1]}, "is of model 'large', a.ewa of 'small'"),
        ({}, {"version": "2.0", "target": TARGETS[1]}, "is of version '2.0', a.ewa of '1.2.0'"),
        ({}, {"latency": 0.5}, "is for x86_64-onnxruntime, and so is a.ewa"),
    ],
)
def test_artifacts_that_do_not_belong_together(
    bench: Bench, tmp_path: Path, first: dict[str, Any], second: dict[str, Any], says: str
) -> None:
    paths = [artifact(tmp_path / "a.ewa", **first), artifact(tmp_path / "b.ewa", **second)]
    with pytest.raises(InputError, match=says):
        bench.create(*paths)
    assert bench.repository.released("small") == {}


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"verdict": "marginal"}, VerificationError, "its verification says 'marginal'"),
        ({"verdict": "unverified", "report": None}, VerificationError, "says 'unverified'"),
        ({"report": None}, VerificationError, "it brings no verification report"),
        ({"report": b'{"target":"cortex-a-tflite","verdict":"pass"}'}, InputError, "is of 'cortex-a-tflite'"),
        (
            {"report": b'{"target":"x86_64-onnxruntime","verdict":"fail"}'},
            InputError,
            "says 'fail', the manifest 'pass'",
        ),
        ({"report": b"[]"}, InputError, "is no verification report"),
        ({"report": b"\xff"}, InputError, "is no verification report"),
        ({"report": b"[" * 100_000}, InputError, "is no verification report"),
    ],
)
def test_what_is_not_verified_is_not_released(
    bench: Bench, tmp_path: Path, options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    path = artifact(tmp_path / "a.ewa", **options)
    with pytest.raises(kind, match=says):
        bench.create(path)
    if kind is VerificationError:
        made = bench.create(path, unverified_because="for the bench only")
        assert read_releases(bench.folder) == [made]
        assert made.unverified_because == "for the bench only"


def test_a_version_does_not_change_and_counters_only_grow(bench: Bench, tmp_path: Path) -> None:
    paths = both(tmp_path)
    bench.create(*paths)
    with pytest.raises(InputError, match=r"small 1.2.0: was released already, for cortex-a-tflite, x86"):
        bench.create(artifact(tmp_path / "other.ewa", latency=0.7))
    with pytest.raises(InputError, match=r"was released already"):
        bench.create(paths[0])
    with pytest.raises(InputError, match="--counter: expected more than 1"):
        bench.create(*both(tmp_path, "1.3.0"), counter=1)
    with pytest.raises(InputError, match="at least one"):
        bench.create()


def test_what_is_no_artifact_or_damaged(bench: Bench, tmp_path: Path) -> None:
    path = artifact(tmp_path / "a.ewa")
    data = bytearray(path.read_bytes())
    data[data.index(b"latency_seconds", data.index(b"payload/null.json" + b"{"))] ^= 1
    path.write_bytes(data)
    with pytest.raises(TrustError):
        bench.create(path)
    path.write_bytes(b"x" * 500)
    with pytest.raises(ContractError):
        bench.create(path)
    with pytest.raises(InputError, match="there is no repository"):
        create_release(
            Repository(tmp_path / "none", KeyRing(bench.keys)),
            tmp_path / "none",
            [artifact(tmp_path / "b.ewa")],
            created_by="",
            created_seconds=0.0,
        )


def test_a_file_that_is_no_release(bench: Bench, tmp_path: Path) -> None:
    made = bench.create(*both(tmp_path))
    assert decode(encode(made), where="r") == made
    for change, says in (
        ({"artifacts": {}}, "artifacts: expected 1 to 64"),
        ({"counter": 0}, "counter"),
        ({"schema_version": "2.0"}, "newer"),
        ({"created_seconds": "x"}, "created_seconds"),
    ):
        with pytest.raises(ContractError, match=says):
            decode(json.dumps(json.loads(encode(made)) | change).encode(), where="r")
    (bench.folder / "releases" / "x.json").write_bytes(b"{")
    with pytest.raises(InputError, match="is no release that can be read"):
        read_releases(bench.folder)
    with pytest.raises(InputError, match="there is no repository"):
        read_releases(tmp_path / "none")


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_releases(tmp_path / ("x" * 300))


def test_the_commands(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--repository", str(bench.folder)]
    paths = [str(path) for path in both(tmp_path)]
    assert main(["release", "list", *where]) == 0
    assert "no releases yet" in capsys.readouterr().out
    assert main(["release", "create", *paths, *where, "--keys", str(bench.keys), "--by", "ann"]) == 0
    assert "small-1.2.0: small 1.2.0, counter 1" in capsys.readouterr().out
    assert main(["release", "list", *where]) == 0
    assert "small-1.2.0  counter 1" in capsys.readouterr().out
    assert main(["release", "show", "small-1.2.0", *where, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["created_by"], set(shown["artifacts"])) == ("small-1.2.0", "ann", set(TARGETS))
    assert main(["release", "show", "large-1", *where]) == 2
    assert "is no release of" in capsys.readouterr().err
    file = bench.folder / "releases" / "small-1.2.0.json"
    file.write_bytes(file.read_bytes().replace(b'"counter":1', b'"counter":2'))
    assert main(["release", "show", "small-1.2.0", *where]) == 4
    assert "does not sign its artifacts for" in capsys.readouterr().err
    bad = artifact(tmp_path / "bad.ewa", version="2", verdict="marginal")
    keys = ["--keys", str(bench.keys)]
    assert main(["release", "create", str(bad), *where, *keys]) == 4
    assert "--allow-unverified REASON" in capsys.readouterr().err
    assert main(["release", "create", str(bad), *where, *keys, "--allow-unverified", "bench", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["unverified_because"] == "bench"
