"""JOBS.toml and batch.json: whatever goes in, nothing but `InputError` comes out; what a reader takes, it can write again."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.batch.jobs_file import JobsFile, JobsFileError, Settings, parse_jobs
from host_tools.batch.manifest import decode, encode
from host_tools.errors import InputError
from tests.property.contract_values import JSON
from tests.unit.host_tools.batch.batch_results import ALL

_KEYS = st.sampled_from(
    [*Settings.__dataclass_fields__, "path", "name", "min_agreement", "x", "schema_version"]
)
_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["1.0", "mse", "m:f", "a.onnx", "x86_64-onnxruntime", "*", "\0"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return str(value)


def table(entries: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in entries.items())


@settings(deadline=None)
@given(
    st.dictionaries(_KEYS, _VALUES, max_size=4),
    st.lists(st.dictionaries(_KEYS, _VALUES, max_size=6), max_size=3),
)
def test_no_table_breaks_the_reader(defaults: dict[str, Any], models: list[dict[str, Any]]) -> None:
    base = {"path": "a.onnx", "data": "d", "targets": ["x"]}
    text = f"[defaults]\n{table(defaults)}" + "".join(
        f"[[model]]\n{table({**base, **one})}" for one in models
    )
    with contextlib.suppress(JobsFileError):
        read = parse_jobs(text.encode("utf-8", "replace"), where="j")
        assert isinstance(read, JobsFile)
        assert len(read.models) == len(models)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with contextlib.suppress(JobsFileError):
        parse_jobs(data, where="j")


@settings(deadline=None)
@given(st.data())
def test_no_change_to_a_manifest_breaks_its_reader(data: st.DataObject) -> None:
    document: Any = json.loads(encode(ALL, tools={}))
    place, key = document, "jobs"
    while isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(JSON)
    with contextlib.suppress(InputError):
        results = decode(json.dumps(document).encode(), where="b")
        assert decode(encode(results, tools={}), where="b") == results


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_no_bytes_break_the_manifests_reader(data: bytes) -> None:
    with contextlib.suppress(InputError):
        decode(data, where="b")
