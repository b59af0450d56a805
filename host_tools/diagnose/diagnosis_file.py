"""``diagnosis.json``: a `Diagnosis` as bytes and back, exactly; the same diagnosis gives the same bytes."""

from __future__ import annotations

import dataclasses
import json

from host_tools.diagnose.diagnosis import SCHEMA_VERSION, Diagnosis
from host_tools.errors import InputError
from host_tools.typed_json import TypedReader


class DiagnosisFileError(InputError):
    """A diagnosis file is damaged or does not say what a diagnosis must; the message names file and key."""

    code = "diagnosis_file"


_READER = TypedReader(Diagnosis, version=SCHEMA_VERSION, error=DiagnosisFileError, null_is_nan=False)


def encode(diagnosis: Diagnosis) -> bytes:
    """Return the diagnosis as UTF-8 JSON with one layer a line and a final newline."""
    table = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(diagnosis)}
    layers = table.pop("layers")
    lines = [f"{_json(key)}: {_json(value)}" for key, value in table.items()]
    rows = ",\n".join(f" {_json(layer)}" for layer in layers)
    lines.append(f'"layers": [\n{rows}\n]' if layers else '"layers": []')
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def decode(data: bytes, *, where: str) -> Diagnosis:
    """Read a diagnosis from the bytes of a ``diagnosis.json``.

    Args:
        data: The file's bytes.
        where: The file's name, for messages.

    Raises:
        DiagnosisFileError: The bytes are not a diagnosis; the message names file and key.
        SchemaVersionError: The diagnosis is of a newer major version.
    """
    return _READER.decode(data, where=where)
