"""The latest word on each device: its health and its birth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from host_tools.review.store.arrivals import Arrivals

_BIRTH_LABELS = ("target", "engine", "engine_version", "model_name", "model_version", "agent_version")


_MOST_LABELS = 64
_LONGEST_LABEL = 256


def birth_labels(rows: pa.RecordBatch) -> list[str]:
    """Return the labels that births tell, each a JSON object of texts.

    Of what a device says of its host the first 64 by name are labels, and a text of more than 256 characters is none: labels
    of all devices are held in memory.
    """
    told = []
    for row in rows.select([*_BIRTH_LABELS, "host"]).to_pylist():
        host = json.loads(row.pop("host"))
        labels = {
            name: value
            for name, value in sorted(host.items())
            if isinstance(value, str) and _is_short(name, value)
        }
        labels = dict(list(labels.items())[:_MOST_LABELS])
        labels |= {name: value for name, value in row.items() if value and _is_short(name, value)}
        told.append(json.dumps(labels, ensure_ascii=False, sort_keys=True))
    return told


def _is_short(name: str, value: str) -> bool:
    return len(name) + len(value) <= _LONGEST_LABEL


def take_word(one: Arrivals, messages: NDArray[np.int64], devices: dict[int, dict[str, object]]) -> None:
    """Keep the word that was received last: of these messages, and of what is known."""
    word = "birth" if one.table == "birth" else "status"
    told = birth_labels(one.rows) if word == "birth" else one.rows.column("status").to_pylist()
    reasons = [""] * len(told) if word == "birth" else one.rows.column("reason").to_pylist()
    for place in messages.tolist():
        row = devices[int(one.device[place])]
        order = (float(one.received[place]), int(one.seq[place]))
        if order >= (row[f"{word}_received"], row[f"{word}_seq"]):
            row[word], row[f"{word}_received"], row[f"{word}_seq"] = told[place], *order
            if word == "status":
                row["reason"] = reasons[place]
