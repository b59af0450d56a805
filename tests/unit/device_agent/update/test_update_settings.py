from __future__ import annotations

from pathlib import Path

import pytest

from device_agent.config import parse_config
from device_agent.contract import desired
from device_agent.contract.errors import ConfigError, ContractError, StorageError, TransferError
from device_agent.update.store import Store
from device_agent.update.transfer import HttpSource, TransferLimits
from device_agent.update.updates import Updates

LEAST = '[device]\nid = "d"\n[artifact]\npath = "a.ewa"\n[spool]\npath = "s.db"\n[update]\n'
LIMITS = TransferLimits(stall_seconds=1.0, min_bytes_per_second=1.0, rate_window_seconds=1.0)
DESIRED = desired.Desired(
    subject="group/lab",
    serial=3,
    artifacts={"t": desired.DesiredArtifact(path="models/m/m-1.ewa", digest="sha256:" + "a" * 64)},
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('url = "https://x"', "update.url: needs update.root and update.directory"),
        ('url = "ftp://x"\nroot = "r"\ndirectory = "d"', "expected http:// or https://"),
        ('url = "http://"\nroot = "r"\ndirectory = "d"', "and a host, without a user; got 'http://'"),
        ('url = "https://x:70000"\nroot = "r"\ndirectory = "d"', "and a host"),
        ('group = "a/b"', "update.group"),
        ('tls_cert = "c"', "go together"),
        ('tls_cert = "c"\ntls_key = "k"', "update.tls_ca: is missing"),
        ("probation_seconds = 10\nprobation_max_seconds = 5", "is above update.probation_max_seconds"),
        ('urls = "x"', "Did you mean 'url'"),
    ],
)
def test_settings_that_contradict_each_other(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_config((LEAST + text).encode(), origin="agent.toml", folder=Path("/etc"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, r"root\.json: cannot be read: No such file"),
        (b"", "is no root metadata: .*not valid JSON"),
        (b'{"signed": {"_type": "targets", "version": 1}}', "expected one of root, got 'targets'"),
        (b'{"signed": {"_type": "root", "version": 0}}', "signed.version"),
        (b'{"signatures": []}', "signed"),
        (b" " * 600_000, "at most 512000 bytes"),
    ],
)
def test_a_root_that_is_none_is_a_wrong_configuration(tmp_path: Path, data: bytes | None, says: str) -> None:
    if data is not None:
        (tmp_path / "root.json").write_bytes(data)
    text = LEAST + 'url = "http://x"\nroot = "root.json"\ndirectory = "d"'
    config = parse_config(text.encode(), origin="agent.toml", folder=tmp_path)
    with pytest.raises(ConfigError, match=f"update.root: .*{says}"):
        Updates(config, report=lambda _: None, tell=lambda _: None, restart=lambda _: None)


def test_a_desired_state_survives_and_another_subjects_is_refused() -> None:
    data = desired.encode(DESIRED)
    assert desired.decode(data, where="x", subject="group/lab") == DESIRED
    with pytest.raises(ContractError, match="got that of group/lab"):
        desired.decode(data, where="x", subject="device/d")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"serial":3', b'"serial":0'),
        (b'"serial":3', b'"serial":true'),
        (b"models/m/m-1.ewa", b"models/../m-1.ewa"),
        (b"models/m/m-1.ewa", b"/etc/passwd"),
        (b'"allow_downgrade":false', b'"allow_downgrade":0'),
        (b'"artifacts":{', b'"artifacts":{},"x":{'),
        (b'"1.3"', b'"2.0"'),
        (b"sha256:a", b"sha256:X"),
    ],
)
def test_a_desired_state_that_breaks_a_rule_is_refused(old: bytes, new: bytes) -> None:
    data = desired.encode(DESIRED)
    assert old in data
    with pytest.raises(ContractError):
        desired.decode(data.replace(old, new), where="x", subject="group/lab")


@pytest.mark.parametrize(
    "document", [None, [], {}, {"model": "m", "version": "1", "target": "t", "release_counter": 0}]
)
def test_facts_that_are_none_are_refused(document: object) -> None:
    with pytest.raises(ContractError):
        desired.read_facts(document, where="x")


@pytest.mark.parametrize("url", ["ftp://x/y", "http://", "http://x:99999/y", "http://ho st/", "x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(TransferError):
        next(HttpSource(LIMITS, None).get(url))


def test_the_store_takes_a_file_once_and_keeps_only_what_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    store = Store(tmp_path / "store")
    first, second = store.take(tmp_path / "a"), store.take(tmp_path / "b")
    assert store.take(tmp_path / "a") == first
    with store.open_part("sha256:" + "c" * 64):
        pass
    store.collect(frozenset({second}))
    assert [path.name for path in (tmp_path / "store").iterdir()] == [store.path(second).name]
    assert not store.holds(first)
    with pytest.raises(StorageError, match="cannot be copied"):
        store.take(tmp_path / "none")


def test_a_damaged_file_in_the_store_is_taken_anew(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    store = Store(tmp_path / "store")
    digest = store.take(tmp_path / "a")
    store.path(digest).write_bytes(b"onf")
    assert store.take(tmp_path / "a") == digest
    assert store.path(digest).read_bytes() == b"one"


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    store = Store(tmp_path / "store")
    with pytest.raises(StorageError, match="cannot be opened"):
        store.open_part("sha256:" + "c" * 64)
    folder = tmp_path / "other"
    (folder / "x.ewa").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be cleaned"):
        Store(folder).collect(frozenset())
