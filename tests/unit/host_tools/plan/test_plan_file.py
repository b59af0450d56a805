"""``plan.json``: exact, stable, tolerant of newer minor versions, and clear about what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import EdgewrightError, SchemaVersionError
from host_tools.plan.explain import described, explain
from host_tools.plan.plan_file import decode, encode
from host_tools.plan.plan_reader import PlanFileError
from host_tools.recipe import Recipe
from tests.unit.host_tools.plan.plan_models import branches, gated, planned, residual

PLAN = planned(branches(), recipe=Recipe(method="minmax"))
DOCUMENT = json.loads(encode(PLAN))


def changed(path: tuple[str | int, ...], value: object) -> bytes:
    """Return the document with one field replaced, or removed when the value is ``...``."""
    document = json.loads(encode(PLAN))
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("build", [residual, branches, gated])
@pytest.mark.parametrize("target", ["cortex-a-tflite", "amd-vitis-dpu"])
def test_a_plan_survives_the_round_trip_exactly_and_in_order(build, target):
    plan = planned(build(), target)
    again = decode(encode(plan), where="plan.json")
    assert again == plan
    assert list(again.tensors) == list(plan.tensors)
    assert encode(again) == encode(plan)


def test_an_entry_stands_on_a_line_of_its_own():
    lines = encode(PLAN).decode().splitlines()
    assert lines[1] == '"schema_version": "1.0",'
    assert sum('"role"' in line for line in lines) == len(PLAN.tensors)
    assert sum('"op_type"' in line for line in lines) == len(PLAN.nodes)


def test_unknown_fields_survive_where_they_stood():
    document = json.loads(encode(PLAN))
    document["schema_version"] = "1.7"
    document["seed"] = 3
    document["nodes"][0]["cost"] = {"cycles": 12}
    document["tensors"][0]["qparams"]["rounding"] = "half_up"
    document["tensors"][1]["note"] = None
    document["requantize"][0]["kernel"] = "vector"
    kept = json.loads(encode(decode(json.dumps(document).encode(), where="plan.json")))
    document["schema_version"] = "1.0"
    assert kept == document


def test_a_newer_major_version_is_refused_by_name():
    with pytest.raises(SchemaVersionError, match=r"plan\.json: schema_version.*up to version 1, got 2\.0"):
        decode(changed(("schema_version",), "2.0"), where="plan.json")


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("schema_version",), "one", "schema_version"),
        (("schema_version",), ..., "plan.schema_version"),
        (("target",), 3, "plan.target"),
        (("method",), "guess", "plan.method"),
        (("warnings",), "none", "plan.warnings"),
        (("warnings",), [3], "warnings"),
        (("nodes",), {}, "plan.nodes"),
        (("nodes", 0), [], "nodes[0]"),
        (("nodes", 0, "precision"), "int7", "nodes['gate'].precision"),
        (("nodes", 0, "fused_into"), 1, "nodes['gate'].fused_into"),
        (("nodes", 1, "name"), "gate", "nodes[1].name"),
        (("tensors", 0, "role"), "hero", "tensors['x'].role"),
        (("tensors", 0, "reason"), ..., "tensors['x'].reason"),
        (("tensors", 0, "qparams"), 4, "tensors['x'].qparams"),
        (("tensors", 0, "qparams", "scale"), [], "tensors['x'].qparams.zero_point"),
        (("tensors", 0, "qparams", "scale"), [0.0], "tensors['x'].qparams.scale"),
        (("tensors", 0, "qparams", "scale"), [True], "tensors['x'].qparams.scale"),
        (("tensors", 0, "qparams", "scale"), ["1"], "tensors['x'].qparams.scale"),
        (("tensors", 0, "qparams", "zero_point"), [0.5], "tensors['x'].qparams.zero_point"),
        (("tensors", 0, "qparams", "zero_point"), [1, 2], "tensors['x'].qparams.zero_point"),
        (("tensors", 0, "qparams", "dtype"), "int9", "tensors['x'].qparams.dtype"),
        (("tensors", 0, "qparams", "axis"), "first", "tensors['x'].qparams.axis"),
        (("tensors", 1, "qparams", "axis"), None, "tensors['w'].qparams.axis"),
        (("requantize", 0, "input_index"), None, "requantize[0].input_index"),
        (("requantize", 0, "qparams"), None, "requantize[0].qparams"),
    ],
)
def test_a_wrong_field_is_refused_by_file_and_key(path, value, key):
    with pytest.raises(PlanFileError) as caught:
        decode(changed(path, value), where="some/plan.json")
    assert str(caught.value).startswith(f"some/plan.json: {key}: expected ")
    assert "got" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[1]", b"null", b'{"schema_version": NaN}', b"[" * 100_000]
)
def test_what_is_no_plan_is_refused(data):
    with pytest.raises(PlanFileError, match=r"plan\.json"):
        decode(data, where="plan.json")


def test_numbers_beyond_float64_are_refused():
    data = changed(("tensors", 0, "qparams", "scale"), [1.0]).replace(
        b'"scale": [1.0]', b'"scale": [1e999]', 1
    )
    with pytest.raises(PlanFileError, match="finite number above 0"):
        decode(data, where="plan.json")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_raises_nothing_but_our_errors(data):
    raw = bytearray(encode(PLAN))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        decode(bytes(raw), where="plan.json")
    except EdgewrightError as error:
        assert "plan.json" in str(error)


def rounded(codes):
    """Return the plan with codes for its weight."""
    tensors = {**PLAN.tensors, "w": replace(PLAN.tensors["w"], codes=codes)}
    return replace(PLAN, tensors=tensors)


@pytest.mark.parametrize("codes", [b"", b"\x00", bytes(range(256))])
def test_codes_survive_the_round_trip_exactly(codes):
    plan = rounded(codes)
    again = decode(encode(plan), where="plan.json")
    assert again == plan
    assert again.tensors["w"].codes == codes
    assert encode(again) == encode(plan)


def test_a_plan_without_codes_does_not_speak_of_them():
    assert b'"codes"' not in encode(PLAN)
    assert decode(encode(PLAN), where="plan.json").tensors["w"].codes is None


@pytest.mark.parametrize("value", [3, None, [], "not base64!", "AAA", "AA==\n", "\u00e4\u00e4\u00e4\u00e4"])
def test_codes_that_are_not_base64_are_refused_by_name(value):
    document = json.loads(encode(rounded(b"\x01")))
    entry = next(entry for entry in document["tensors"] if "codes" in entry)
    entry["codes"] = value
    with pytest.raises(PlanFileError, match=r"plan\.json: tensors\['w'\]\.codes: expected"):
        decode(json.dumps(document).encode(), where="plan.json")


def test_an_explanation_names_everything_with_its_reason():
    text = explain(PLAN)
    assert text.startswith("Plan for cortex-a-tflite: 4 nodes (4 in int8)\nmethod minmax, as the recipe says")
    for name, entry in (*PLAN.tensors.items(), *PLAN.nodes.items()):
        assert name in text
        assert entry.reason in text
    assert "Re-quantized edges\n  input 0 of join: int8 [-128, 127] scale " in text
    assert "Warnings" not in text
    assert "Warnings\n  - HardSigmoid 'gate'" in explain(planned(gated(), ranges={"r": (0.0, 2.0)}))
    assert "Relu relu -> reduce" in explain(planned(gated()))


def test_many_scales_are_described_by_their_ends():
    weight = PLAN.tensors["w"].qparams
    assert weight is not None
    assert described(weight).startswith("int8 [-127, 127] 2 scales ")
    assert described(weight).endswith(" on axis 0 zero point 0")
