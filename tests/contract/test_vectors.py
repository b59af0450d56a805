"""The conformance vectors: what every reader of the contract must take, and what it must refuse, with the code of the refusal.

A vector names its ``kind`` (``manifest``, ``units``, ``desired`` or a message) and holds a ``document``, or ``raw`` text where no JSON writer would
produce it. A valid one is canonical: reading and writing gives the same bytes. An invalid one says the ``error`` code, words of the
message, and whether the JSON Schema refuses it too.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import device_agent.contract
from device_agent.contract import desired, manifest, manifest_codec, sound, text
from device_agent.contract.errors import EdgewrightError
from device_agent.contract.telemetry import codec, units
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import MEASUREMENTS, ExponentialHistogram, Reading
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.result import Raw, Result, Summary, TopK
from device_agent.contract.telemetry.states import Alarm, Birth, CommandState, Health, Reported, RunningModel

VECTORS = Path(__file__).parent / "vectors"
SCHEMAS = Path(device_agent.contract.__file__).parent / "schema"
MESSAGES = {
    **MEASUREMENTS,
    "birth": Birth,
    "health": Health,
    "reported": Reported,
    "alarm": Alarm,
    "event": Event,
    "command": CommandState,
    "result": Result,
}


def vectors(folder: str) -> list[Any]:
    paths = sorted((VECTORS / folder).glob("*.json"))
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]


def read(kind: str, data: bytes) -> Any:
    if kind == "manifest":
        return manifest_codec.decode(data, where="vector")
    if kind == "units":
        return units.decode_units(data, where="vector")
    if kind == "desired":
        return desired.decode(data, where="vector", subject=json.loads(data)["subject"])
    return codec.decode(MESSAGES[kind], data, where="vector")


def write(kind: str, value: Any) -> bytes:
    if kind == "manifest":
        return manifest_codec.encode(value)
    if kind == "units":
        return units.encode_units(value)
    if kind == "desired":
        return desired.encode(value)
    return codec.encode(value)


def canonical(kind: str, document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return (text + ("\n" if kind == "manifest" else "")).encode()


def schema(kind: str) -> Draft202012Validator:
    if kind in ("manifest", "desired"):
        document = json.loads((SCHEMAS / f"{kind}.v1.json").read_text())
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
    assert str(caught.value).startswith("vector: ")


@pytest.mark.parametrize(
    "vector", [vector for vector in vectors("invalid") if "document" in vector.values[0]]
)
def test_the_schema_refuses_what_a_schema_can_say(vector: Any) -> None:
    assert schema(vector["kind"]).is_valid(vector["document"]) is not vector["schema_refuses"]


def test_every_kind_has_valid_and_invalid_vectors() -> None:
    kinds = {"manifest", "units", "desired", *MESSAGES}
    for folder in ("valid", "invalid"):
        assert {parameter.values[0]["kind"] for parameter in vectors(folder)} == kinds


def test_every_message_of_the_schema_is_one_of_ours() -> None:
    names = json.loads((SCHEMAS / "telemetry.v1.json").read_text())["$defs"].keys()
    assert set(MESSAGES) | {"units"} <= names


# --- a schema and the dataclasses that it stands for have the same fields ---


def fields_of(kind: Any, *, without: tuple[str, ...] = ("extra",)) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)} - set(without)


def properties_of(document: Any, part: Any) -> set[str]:
    """Names that a schema speaks of at its top: its own properties and those of what it is made of."""
    if "$ref" in part:
        return properties_of(document, document["$defs"][part["$ref"].removeprefix("#/$defs/")])
    parts = [*part.get("allOf", []), *part.get("oneOf", [])]
    return set(part.get("properties", {})).union(*(properties_of(document, inner) for inner in parts))


def test_the_manifest_schema_has_exactly_the_fields_of_the_dataclasses() -> None:
    document = json.loads((SCHEMAS / "manifest.v1.json").read_text())
    parts = {
        manifest.Manifest: document,
        manifest.Requires: document["properties"]["requires"],
        manifest.Tolerance: document["properties"]["tolerance"],
        manifest.GoldenSample: document["properties"]["golden"]["items"],
        manifest.Member: document["$defs"]["member"],
        manifest.PayloadTensor: document["$defs"]["tensor"],
        manifest.Preprocessing: document["$defs"]["preprocessing"],
        manifest.Heat: document["$defs"]["heat"],
        sound.Sound: document["$defs"]["sound"],
        sound.Spectrum: document["$defs"]["spectrum"],
        sound.Mel: document["$defs"]["mel"],
        sound.Logarithm: document["$defs"]["logarithm"],
        sound.Mfcc: document["$defs"]["sound"]["properties"]["mfcc"]["oneOf"][1],
        sound.Normalization: document["$defs"]["normalization"],
        sound.SoundProof: document["$defs"]["sound"]["properties"]["proof"],
        text.Text: document["$defs"]["text_inputs"],
        text.TextSample: document["$defs"]["text_sample"],
    }
    assert {kind.__name__ for kind in parts} == {
        kind.__name__ for kind in manifest.Extensible.__subclasses__()
    }
    for kind, part in parts.items():
        assert properties_of(document, part) == fields_of(kind), kind.__name__


def test_the_desired_schema_has_exactly_the_fields_of_the_dataclasses() -> None:
    document = json.loads((SCHEMAS / "desired.v1.json").read_text())
    definitions = document["$defs"]
    assert properties_of(document, document) == fields_of(desired.Desired) | {"schema_version"}
    assert properties_of(document, definitions["model"]) == fields_of(desired.DesiredModel)
    assert properties_of(document, definitions["trial"]) == fields_of(desired.Trial)
    artifact = definitions["artifacts"]["additionalProperties"]
    assert properties_of(document, artifact) == fields_of(desired.DesiredArtifact)


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - {"event", "thermal", "power"}))
def test_the_telemetry_schema_has_exactly_the_fields_of_the_messages(name: str) -> None:
    document = json.loads((SCHEMAS / "telemetry.v1.json").read_text())
    own = fields_of(MESSAGES[name], without=("extra", "envelope"))
    assert properties_of(document, document["$defs"][name]) == own | fields_of(Envelope) | {"schema_version"}


def test_the_objects_inside_messages_have_exactly_the_fields_of_their_dataclasses() -> None:
    document = json.loads((SCHEMAS / "telemetry.v1.json").read_text())
    definitions = document["$defs"]
    envelope = fields_of(Envelope) | {"schema_version"}
    assert set(definitions["envelope"]["properties"]) == envelope
    hist = definitions["inference"]["properties"]["hist"]
    assert set(hist["properties"]) == fields_of(ExponentialHistogram)
    data = definitions["event"]["properties"]["data"]
    of_cloud_event = ("extra", "envelope", "device", "name")
    assert set(data["properties"]) == fields_of(Event, without=of_cloud_event) | envelope
    running = definitions["running_model"]
    assert set(running["properties"]) == fields_of(RunningModel)
    source = definitions["thermal"]["properties"]["sources"]["additionalProperties"]
    assert set(source["properties"]) == fields_of(Reading, without=("name", "value"))
    assert properties_of(document, definitions["power"]) == {"sources", "absent", *envelope}
    assert set(definitions["units"]["additionalProperties"]["properties"]) == fields_of(units.Unit)


@pytest.mark.parametrize("kind", [TopK, Raw, Summary])
def test_the_forms_of_an_output_have_exactly_the_fields_of_their_dataclasses(kind: Any) -> None:
    forms = json.loads((SCHEMAS / "telemetry.v1.json").read_text())["$defs"]["output"]["oneOf"]
    assert [form for form in forms if set(form["properties"]) == fields_of(kind) | {"form"}]
