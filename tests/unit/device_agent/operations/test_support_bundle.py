from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from device_agent.config import parse_config
from device_agent.contract.document import visible_json
from device_agent.operations.support_bundle import write_bundle

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[device]
id = "d"
targets = [{shown}]
[artifact]
path = "a.ewa"
[mqtt]
username = "d"
password_file = "password"
[spool]
path = "spool.db"
"""


@pytest.mark.parametrize("password", ["open sesame", 'größe"', "größe\\", "ü\x7f\x9b", "a\tb", "温度"])
def test_the_password_is_struck_out_however_a_text_writes_it(tmp_path: Path, password: str) -> None:
    (tmp_path / "password").write_text(f"{password}\n", encoding="utf-8")
    text = CONFIG.format(shown=visible_json(f"before {password} after"))
    config = parse_config(text.encode(), origin="agent.toml", folder=tmp_path)
    write_bundle(config, tmp_path / "bundle.tar.gz")
    with tarfile.open(tmp_path / "bundle.tar.gz") as archive:
        member = archive.extractfile("edgewright-support/config.json")
        assert member is not None
        told = json.loads(member.read())
    assert told["device"]["targets"] == ["before (struck out) after"]
