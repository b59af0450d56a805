"""The conformance vectors: what every reader of the contract must take, and what it must refuse, with the code of the refusal.

A vector names its ``kind`` (``manifest``, ``units`` or a message) and holds a ``document``, or ``raw`` text where no JSON writer would
produce it. A valid one is canonical: reading and writing gives the same bytes. An invalid one says the ``error`` code, words of the
message, and whether the JSON Schema refuses it too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import device_agent.contract
from device_agent.contract import manifest_codec, telemetry, telemetry_codec, units
from device_agent.contract.errors import EdgewrightError

VECTORS = Path(__file__).parent / "vectors"
SCHEMAS = Path(device_agent.contract.__file__).parent / "schema"
MESSAGES = {
    **telemetry.MEASUREMENTS,
    "birth": telemetry.Birth,
    "health": telemetry.Health,
    "alarm": telemetry.Alarm,
    "event": telemetry.Event,
    "result": telemetry.Result,
}


def vectors(folder: str) -> list[Any]:
    paths = sorted((VECTORS / folder).glob("*.json"))
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]


def read(kind: str, data: bytes) -> Any:
    if kind == "manifest":
        return manifest_codec.decode(data, where="vector")
    if kind == "units":
        return units.decode_units(data, where="vector")
    return telemetry_codec.decode(MESSAGES[kind], data, where="vector")


def write(kind: str, value: Any) -> bytes:
    if kind == "manifest":
        return manifest_codec.encode(value)
    if kind == "units":
        return units.encode_units(value)
    return telemetry_codec.encode(value)


def canonical(kind: str, document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return (text + ("\n" if kind == "manifest" else "")).encode()


def schema(kind: str) -> Draft202012Validator:
    if kind == "manifest":
        document = json.loads((SCHEMAS / "manifest.v1.json").read_text())
    else:
        document = json.loads((SCHEMAS / "telemetry.v1.json").read_text())
        document = {"$schema": document["$schema"], "$defs": document["$defs"], "$ref": f"#/$defs/{kind}"}
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


@pytest.mark.parametrize("vector", vectors("valid"))
def test_valid_vectors_survive_a_round_trip_byte_for_byte(vector: Any) -> None:
    data = canonical(vector["kind"], vector["document"])
    value = read(vector["kind"], data)
    assert write(vector["kind"], value) == data
    assert read(vector["kind"], write(vector["kind"], value)) == value


@pytest.mark.parametrize("vector", vectors("valid"))
def test_the_schema_takes_valid_vectors(vector: Any) -> None:
    schema(vector["kind"]).validate(vector["document"])


@pytest.mark.parametrize("vector", vectors("invalid"))
def test_invalid_vectors_are_refused_by_code_and_reason(vector: Any) -> None:
    data = vector["raw"].encode() if "raw" in vector else canonical(vector["kind"], vector["document"])
    with pytest.raises(EdgewrightError) as caught:
        read(vector["kind"], data)
    assert caught.value.code == vector["error"]
    assert vector["says"] in str(caught.value)
    assert str(caught.value).startswith(("vector: ", "reading ", "device id"))


@pytest.mark.parametrize(
    "vector", [vector for vector in vectors("invalid") if "document" in vector.values[0]]
)
def test_the_schema_refuses_what_a_schema_can_say(vector: Any) -> None:
    assert schema(vector["kind"]).is_valid(vector["document"]) is not vector["schema_refuses"]


def test_every_kind_has_valid_and_invalid_vectors() -> None:
    kinds = {"manifest", "units", *MESSAGES}
    for folder in ("valid", "invalid"):
        assert {parameter.values[0]["kind"] for parameter in vectors(folder)} == kinds


def test_every_message_of_the_schema_is_one_of_ours() -> None:
    names = json.loads((SCHEMAS / "telemetry.v1.json").read_text())["$defs"].keys()
    assert set(MESSAGES) | {"units"} <= names
