"""``batch.json``: written and read back, held against the folder, refused when it is something else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from device_agent.contract.digest import digest_of
from host_tools.batch.manifest import decode, encode, is_complete, read_manifest
from host_tools.errors import InputError
from tests.unit.host_tools.batch.batch_results import ALL, EXACT, FAILED, GOOD


def test_what_is_written_is_read_back() -> None:
    assert decode(encode(ALL, tools={}), where="batch.json") == ALL


def test_no_manifest_is_no_results(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}


def test_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "batch.json").mkdir()
    with pytest.raises(InputError, match=r"batch.json: cannot be read: Is a directory"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema_version", "2.0", r"schema_version 2.0 is newer than 1.0.*Update Edgewright"),
        ("schema_version", 1, r"schema_version: expected a text.*Choose another --out"),
        ("jobs", {}, r"jobs: expected an array"),
        ("jobs", [1], r"jobs\[0\]: expected an object"),
        ("jobs", [{}], r"jobs\[0\].* is missing"),
    ],
)
def test_something_else_is_refused(key: str, value: object, message: str) -> None:
    document = {**json.loads(encode(ALL, tools={})), key: value}
    with pytest.raises(InputError, match=f"batch.json: {message}"):
        decode(json.dumps(document).encode(), where="batch.json")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("verdict", "good", r"targets\[0\].verdict: expected one of pass, "),
        ("is_exact", 0, r"targets\[0\].is_exact: expected true or false"),
        ("same_top_class", "1", r"targets\[0\].same_top_class: expected a number"),
        ("payload_bytes", -1, r"targets\[0\].payload_bytes: expected an integer from 0"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, message: str) -> None:
    document = json.loads(encode(ALL, tools={}))
    document["jobs"][0]["targets"][0][field] = value
    with pytest.raises(InputError, match=rf"batch.json: jobs\[0\].{message}"):
        decode(json.dumps(document).encode(), where="batch.json")


def test_a_result_is_complete_while_its_files_are_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.onnx").write_bytes(b"abc")
    result = dataclasses.replace(GOOD, files=(("sub/model.onnx", digest_of(b"abc")),))
    assert is_complete(result, tmp_path)
    assert not is_complete(result, tmp_path / "elsewhere")
    (tmp_path / "sub" / "model.onnx").write_bytes(b"abd")
    assert not is_complete(result, tmp_path)


def test_what_failed_or_lies_elsewhere_is_never_complete(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    empty = digest_of(b"")
    inside = tmp_path / "inside"
    inside.mkdir()
    assert not is_complete(FAILED, tmp_path)
    assert not is_complete(EXACT, tmp_path)  # it names no file
    for name in ("../x", str(tmp_path / "x")):
        assert not is_complete(dataclasses.replace(GOOD, files=((name, empty),)), inside)
