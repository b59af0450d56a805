"""What artifacts are called: model and version, as births tell them of every model and every side of a split."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.arrivals import Arrivals
    from host_tools.review.store.engine import Engine
    from host_tools.review.store.keys import Keys

_MOST_HELD = 100_000
_PARTS = ("artifact", "model_name", "model_version")
Name = tuple[str, str]
"""Model and version; either may be empty, not both."""


class ModelNames:
    """Writes names that are new. What is written is held, for births come again with every connection."""

    def __init__(self, engine: Engine, artifacts: Keys) -> None:
        self._engine = engine
        self._artifacts = artifacts
        self._held: dict[str, Name] = {}

    def forget(self) -> None:
        """Forget what was not committed."""
        self._held.clear()

    def take(self, births: Arrivals) -> None:
        """Write what these births call artifacts; the latest word counts."""
        named = {digest: name for digest, name in _told(births) if self._held.get(digest) != name}
        if not named:
            return
        keys, fresh = self._artifacts.give(list(named))
        self._artifacts.write(fresh)
        model, version = zip(*named.values(), strict=True)
        rows = {"artifact": pa.array(keys, pa.int32()), "model": list(model), "model_version": list(version)}
        self._engine.replace("model_name", pa.table(rows))
        if len(self._held) + len(named) > _MOST_HELD:
            self._held.clear()
        self._held.update(named)


def model_names(engine: Engine, artifacts: Keys) -> dict[str, str]:
    """Return model and version of each artifact that has a name, by digest."""
    rows = engine.select("SELECT artifact, model, model_version FROM model_name").to_pylist()
    named = {
        artifacts.name(row["artifact"]): f"{row['model']} {row['model_version']}".strip() for row in rows
    }
    return {digest: name for digest, name in named.items() if digest is not None}


def _told(births: Arrivals) -> Iterator[tuple[str, Name]]:
    rows = births.rows.select([*_PARTS, "models"]).to_pylist()
    for row in sorted(zip(births.received.tolist(), rows, strict=True), key=lambda one: one[0]):
        for one in (row[1], *json.loads(row[1]["models"])):
            digest, *name = (one[part] for part in _PARTS)
            if digest is not None and any(name):
                yield digest, (name[0] or "", name[1] or "")
