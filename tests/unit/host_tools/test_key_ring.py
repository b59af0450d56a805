"""Keys that a file names by their URI, and every way in which they cannot be used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.signer import CryptoSigner

from host_tools.cli.main import main
from host_tools.errors import InputError
from host_tools.repository.keys import PIN_VARIABLE, KeyRing, _pin
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact

if TYPE_CHECKING:
    from pathlib import Path


def named_key(folder: Path, role: str, number: int, **changes: Any) -> Path:
    """A key outside of the folder, and the file that names it."""
    signer = CryptoSigner.generate_ecdsa()
    secret = folder.parent / f"{role}.secret"
    secret.write_bytes(signer.private_bytes)
    folder.mkdir(exist_ok=True)
    document = {
        "schema_version": "1.0",
        "uri": f"file2:{secret}",
        "keyid": signer.public_key.keyid,
        "key": signer.public_key.to_dict(),
    } | changes
    path = folder / f"{role}-{number}.uri"
    path.write_text(json.dumps(document))
    return path


def test_a_key_that_is_named_by_its_uri_signs(tmp_path: Path) -> None:
    keys = KeyRing(tmp_path / "keys")
    named_key(tmp_path / "keys", "fleet", 1)
    repository = Repository(tmp_path / "fleet", keys)
    repository.init()
    assert not list((tmp_path / "keys").glob("fleet-*.pem")), "the key that is there is the role's"
    name = repository.add(null_artifact(tmp_path / "a.ewa"), release_counter=1)
    assert repository.release("group/lab", [name]).serial == 1
    repository.rotate("fleet")
    assert [path.name for path in (tmp_path / "keys").glob("fleet-*.pem")] == ["fleet-2.pem"]
    assert repository.release("group/lab", [name]).serial == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"uri": "nothing:1"}, "cannot be used"),
        ({"uri": "file2:/nonexistent"}, "cannot be used"),
        ({"uri": ""}, "uri: expected a text"),
        ({"key": {}}, "is no key"),
        ({"key": {"keytype": "ecdsa", "scheme": "x", "keyval": 3}}, "is no key"),
        ({"keyid": 3}, "keyid: expected a text"),
        ({"schema_version": "2.0"}, "newer"),
    ],
)
def test_a_file_that_names_no_key_is_told(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = named_key(tmp_path / "keys", "fleet", 1, **changes)
    with pytest.raises(InputError, match=says) as caught:
        KeyRing(tmp_path / "keys").of("fleet")
    assert path.name in str(caught.value)


def test_hardware_that_is_not_there_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYKCS11LIB", "/nonexistent.so")
    repository = Repository(tmp_path / "fleet", KeyRing(tmp_path / "keys"))
    repository.init()
    before = sorted(tmp_path.rglob("*.*"))
    command = ["repository", "rotate", str(tmp_path / "fleet"), "--keys", str(tmp_path / "keys")]
    for role, uris, says in (
        ("fleet", ["hsm:2?label=fleet"], "hsm:2?label=fleet: "),
        ("fleet", ["awskms:x"], "expected hsm:ID?label=TOKEN"),
        ("targets", ["hsm:2"], "expected 2 keys, got 1 URIs"),
    ):
        options = [part for uri in uris for part in ("--uri", uri)]
        assert main([*command, "--role", role, *options]) == 2
        assert says in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*.*")) == before


def test_a_pin_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PIN_VARIABLE, raising=False)
    with pytest.raises(InputError, match="EDGEWRIGHT_KEY_PIN is not set"):
        _pin("pin")
    monkeypatch.setenv(PIN_VARIABLE, "1234")
    assert _pin("pin") == "1234"
