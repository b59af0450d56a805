"""`edgewright repository`: the commands, and every way in which they refuse."""

from __future__ import annotations

import re
import shlex
import stat
from pathlib import Path

import pytest

from device_agent.contract.errors import ContractError, TrustError
from host_tools.cli.main import _parser, main
from host_tools.errors import InputError, OutputError
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "fleet", KeyRing(tmp_path / "keys"))
    made.init()
    return made


def test_the_commands_make_a_repository_that_only_needs_to_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, keys = str(tmp_path / "fleet"), ["--keys", str(tmp_path / "keys")]
    artifact = str(null_artifact(tmp_path / "a.ewa"))
    assert main(["repository", "init", fleet, *keys]) == 0
    assert "1.root.json" in capsys.readouterr().out
    assert main(["repository", "add", fleet, artifact, "--release-counter", "1", *keys]) == 0
    name = capsys.readouterr().out.strip()
    assert name == "models/small/a.ewa"
    assert main(["repository", "release", fleet, "--group", "lab", name, *keys]) == 0
    assert "group/lab: desired state 1" in capsys.readouterr().out
    assert main(["repository", "refresh", fleet, *keys]) == 0
    assert "targets: until " in capsys.readouterr().out
    assert main(["repository", "refresh", fleet, "--role", "root", "--role", "model-small", *keys]) == 0
    assert (tmp_path / "fleet" / "metadata" / "2.root.json").exists()
    assert (tmp_path / "fleet" / "metadata" / "3.model-small.json").exists()
    assert main(["repository", "rotate", fleet, "--role", "fleet", *keys]) == 0
    assert not list((tmp_path / "fleet").rglob("*.pem"))
    assert not list((tmp_path / "fleet").rglob("*.new"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").glob("*.pem")}
    assert modes == {0o600}
    assert main(["repository", "init", fleet, *keys]) == 2
    assert "there is a repository already" in capsys.readouterr().err


def test_a_second_release_has_the_next_serial(repository: Repository, tmp_path: Path) -> None:
    name = repository.add(null_artifact(tmp_path / "a.ewa"), release_counter=1)
    serials = [repository.release("device/d", [name]).serial for _ in range(3)]
    assert serials == [1, 2, 3]


def test_a_mixed_group_gets_one_artifact_a_profile(repository: Repository, tmp_path: Path) -> None:
    names = [
        repository.add(null_artifact(tmp_path / f"{target}.ewa", target=target), release_counter=1)
        for target in ("x86_64-onnxruntime", "cortex-a-tflite")
    ]
    assert set(repository.release("group/lab", names).artifacts) == {"x86_64-onnxruntime", "cortex-a-tflite"}
    with pytest.raises(InputError, match="another artifact is for"):
        repository.release("group/lab", [names[0], names[0]])


def test_refusals(repository: Repository, tmp_path: Path) -> None:
    path = null_artifact(tmp_path / "a.ewa")
    name = repository.add(path, release_counter=1)
    with pytest.raises(InputError, match="is not in the repository"):
        repository.release("device/d", ["models/small/b.ewa"])
    with pytest.raises(InputError, match="is not in the repository"):
        repository.release("device/d", ["../../x"])
    with pytest.raises(InputError, match="subject"):
        repository.release("device/../x", [name])
    with pytest.raises(InputError, match="other bytes"):
        repository.add(null_artifact(path, latency_seconds=0.5), release_counter=2)
    with pytest.raises(InputError, match="is no name for a repository"):
        repository.add(null_artifact(tmp_path / "a b.ewa"), release_counter=2)
    with pytest.raises(InputError, match="release_counter"):
        repository.add(null_artifact(tmp_path / "b.ewa"), release_counter=0)
    with pytest.raises(InputError, match="unknown"):
        repository.rotate("nobody")
    with pytest.raises(InputError, match="'nobody' is unknown") as caught:
        repository.refresh(["nobody"])
    assert "model-small" in caught.value.hint
    with pytest.raises(InputError, match="repository init"):
        Repository(tmp_path / "none", KeyRing(tmp_path / "keys")).refresh()


def test_what_is_no_artifact_is_not_signed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "x.ewa").write_bytes(b"hello" * 100)
    with pytest.raises(ContractError):
        repository.add(tmp_path / "x.ewa", release_counter=1)
    data = bytearray(null_artifact(tmp_path / "y.ewa").read_bytes())
    data[data.index(b"latency_seconds", data.index(b"payload/null.json" + b"{"))] ^= 1
    (tmp_path / "y.ewa").write_bytes(data)
    with pytest.raises(TrustError):
        repository.add(tmp_path / "y.ewa", release_counter=1)


def test_a_command_needs_the_keys_of_what_it_signs_and_no_others(
    repository: Repository, tmp_path: Path
) -> None:
    name = repository.add(null_artifact(tmp_path / "a.ewa"), release_counter=1)
    for path in (tmp_path / "keys").glob("*.pem"):
        if path.name.split("-")[0] in ("root", "targets", "model"):
            path.unlink()
    assert repository.release("device/d", [name]).serial == 1
    repository.refresh()
    with pytest.raises(InputError, match="keys must sign"):
        repository.add(null_artifact(tmp_path / "b.ewa"), release_counter=2)
    with pytest.raises(InputError, match="2 keys must sign"):
        repository.rotate("root")
    for role in ("root", "targets", "model-small"):
        with pytest.raises(InputError, match=f"'{role}': . keys must sign, 0 are here"):
            repository.refresh([role])
    repository.refresh(["fleet"])


def test_a_file_that_is_no_key_and_a_folder_that_cannot_be_written(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "keys" / "timestamp-1.pem").write_bytes(b"no key")
    with pytest.raises(InputError, match="is no key"):
        repository.refresh()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        Repository(tmp_path / "other", KeyRing(tmp_path / "file")).init()


@pytest.mark.parametrize(
    "command",
    [
        *(("repository", action) for action in ("init", "add", "release", "refresh", "rotate")),
        *(("release", action) for action in ("create", "list", "show")),
        *(("ca", action) for action in ("init", "token", "serve", "server", "revoke", "crl", "list")),
    ],
    ids=" ".join,
)
def test_every_action_has_examples_that_its_parser_takes(
    command: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    examples = re.findall(r"^  edgewright (.+?)(?: > .*)?$", capsys.readouterr().out, re.MULTILINE)
    assert examples
    for example in examples:
        assert _parser().parse_args(shlex.split(example)).run.endswith(command[1])
