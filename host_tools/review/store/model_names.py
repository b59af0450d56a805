"""What artifacts are called: model and version, as births tell them of every model and every side of a split."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from host_tools.review.store.keys import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.arrivals import Arrivals
    from host_tools.review.store.engine import Engine
    from host_tools.review.store.keys import Keys
    from host_tools.review.store.limits import Refusals

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

    def take(self, births: Arrivals, refusals: Refusals) -> None:
        """Write what these births call artifacts; the latest word counts."""
        told = list(_told(births))
        named = {digest: name for digest, name, _ in told if self._held.get(digest) != name}
        if not named:
            return
        births_of = {digest: place for digest, _, place in reversed(told)}
        givers = [int(births.device[births_of[digest]]) for digest in named]
        keys, fresh = self._artifacts.give(list(named), givers=givers)
        self._artifacts.write(fresh)
        for digest, giver in [
            one for one, key in zip(zip(named, givers, strict=True), keys, strict=True) if key == REFUSED
        ]:
            self._refuse(births, births_of[digest], digest, self._artifacts.limit(giver), refusals)
            del named[digest]
        if not named:
            return
        model, version = zip(*named.values(), strict=True)
        rows = {
            "artifact": pa.array(keys[keys != REFUSED], pa.int32()),
            "model": list(model),
            "model_version": list(version),
        }
        self._engine.replace("model_name", pa.table(rows))
        if len(self._held) + len(named) > _MOST_HELD:
            self._held.clear()
        self._held.update(named)

    @staticmethod
    def _refuse(births: Arrivals, place: int, digest: str, limit: str, refusals: Refusals) -> None:
        refusals.add(
            received=float(births.received[place]),
            device=births.rows.column("device")[place].as_py(),
            table="birth",
            what="artifact",
            name=digest,
            limit=limit,
        )


def model_names(engine: Engine, artifacts: Keys) -> dict[str, str]:
    """Return model and version of each artifact that has a name, by digest."""
    rows = engine.select("SELECT artifact, model, model_version FROM model_name").to_pylist()
    named = {
        artifacts.name(row["artifact"]): f"{row['model']} {row['model_version']}".strip() for row in rows
    }
    return {digest: name for digest, name in named.items() if digest is not None}


def _told(births: Arrivals) -> Iterator[tuple[str, Name, int]]:
    """Yield digest, name, and which birth tells it, in the order of their receipt."""
    rows = births.rows.select([*_PARTS, "models"]).to_pylist()
    for place in np.argsort(births.received, kind="stable").tolist():
        for one in (rows[place], *json.loads(rows[place]["models"])):
            digest, *name = (one[part] for part in _PARTS)
            if digest is not None and any(name):
                yield digest, (name[0] or "", name[1] or ""), place
