"""The analysis itself as JSON: every number of it, in base units. What is unknown or without end is null."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
import numpy as np

SCHEMA = "edgewright.review/1"


def document(kind: str, analysis: object) -> bytes:
    """Return a JSON object: ``schema``, ``kind``, and under the kind's name the analysis, its fields by their names."""
    encoded = msgspec.json.encode({"schema": SCHEMA, "kind": kind, kind: analysis}, enc_hook=_plain)
    return msgspec.json.format(encoded, indent=2) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON")
