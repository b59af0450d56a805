"""Keys: small integers that stand for texts which repeat, kept in a table and held in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.limits import Room

NONE = 0
"""Key of no text: no artifact runs."""
REFUSED = -1
"""In place of the key of a text that there is no room for."""


class Keys:
    """The keys of one table with the columns ``id`` and ``name``. Not for several threads at once.

    Args:
        engine: Of the store.
        table: Which.
        room: How many texts may get a key; None where none is given.
    """

    def __init__(self, engine: Engine, table: str, room: Room | None = None) -> None:
        self._engine = engine
        self._table = table
        self._room = room
        self._ids: dict[str | None, int] = {None: NONE}
        self._names: list[str | None] = [None]
        self._in_order: tuple[list[str | None], NDArray[np.int64]] | None = None
        self.reload()

    def reload(self) -> None:
        """Forget what was not committed."""
        rows = self._engine.select(f'SELECT id, "name" FROM {self._table} ORDER BY id')
        names = rows.column("name").to_pylist()
        self._ids = {None: NONE, **{name: place for place, name in enumerate(names, start=1)}}
        self._names = [None, *names]
        self._in_order = None
        self._characters = sum(map(len, names))
        if self._room is not None:
            self._room.forget()

    def reload_if_behind(self) -> bool:
        """Read again what another process, or the writer of this one, may have added; return whether there was any."""
        rows = self._engine.select(f"SELECT count(*) AS size FROM {self._table}")
        is_behind = int(rows.column("size")[0].as_py()) >= len(self._names)
        if is_behind:
            self.reload()
        return is_behind

    def __len__(self) -> int:
        return len(self._names)

    def of(self, name: str | None) -> int | None:
        """Return a text's key; None where it has none."""
        return self._ids.get(name)

    def name(self, key: int) -> str | None:
        """Return the text of a key."""
        return self._names[key]

    def all(self) -> list[str | None]:
        """Return every text by its key, the first of them None."""
        return list(self._names)

    def in_order(self) -> tuple[list[str | None], NDArray[np.int64]]:
        """Return every text in order, None last, and the place of each key among them."""
        if self._in_order is None:
            self._in_order = texts_in_order(self._names)
        return self._in_order

    def ids(self) -> list[str]:
        """Return every text."""
        return [name for name in self._names if name is not None]

    def give(
        self, names: Sequence[str | None], *, givers: Sequence[int] | None = None
    ) -> tuple[NDArray[np.int64], list[int]]:
        """Return the key of each text, new ones in the order they stand, and which keys are new: the caller writes them.

        Args:
            names: Texts.
            givers: Key of the device that brings each, where there is one; what a refused device brings is refused.

        Returns:
            Keys, `REFUSED` where there is no room, and those of them that are new.
        """
        fresh: list[int] = []
        keys = np.empty(len(names), dtype=np.int64)
        for place, name in enumerate(names):
            key = self._ids.get(name)
            if key is None:
                key = self._new(name or "", None if givers is None else givers[place])
                if key != REFUSED:
                    fresh.append(key)
            keys[place] = key
        return keys, fresh

    def _new(self, name: str, giver: int | None) -> int:
        size = len(self._names) - 1
        if giver == REFUSED or (
            self._room is not None
            and not self._room.has_room(name, names=size, characters=self._characters, giver=giver)
        ):
            return REFUSED
        self._ids[name] = key = size + 1
        self._names.append(name)
        self._in_order = None
        self._characters += len(name)
        return key

    def limit(self, giver: int | None = None) -> str:
        """Return which limit refuses another text, of a device."""
        if self._room is None:
            return "nothing new is taken"
        return self._room.told(names=len(self._names) - 1, giver=giver)

    def write(self, fresh: Sequence[int]) -> None:
        """Write keys that `give` called new, of a table that has no other columns."""
        if fresh:
            rows = {"id": pa.array(fresh, pa.int32()), "name": [self._names[key] for key in fresh]}
            self._engine.append(self._table, pa.table(rows))

    def given(self, column: pa.Array, device: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the key of each text of a column, whose devices have these keys, and write the new ones."""
        codes, names = encoded(column)
        return self.given_of(codes, names, device)

    def given_of(
        self, codes: NDArray[np.int64], names: Sequence[str | None], device: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the key of each row, which says which of the texts it has, and write the new ones."""
        givers: list[int] | None = None
        if any(name not in self._ids for name in names):
            firsts = np.empty(len(names), dtype=np.int64)
            firsts[codes[::-1]] = device[::-1]  # of several that bring a text, the first
            givers = firsts.tolist()
        keys, fresh = self.give(names, givers=givers)
        self.write(fresh)
        return keys[codes]


def texts_in_order(of_key: Sequence[str | None]) -> tuple[list[str | None], NDArray[np.int64]]:
    """Return each text once, in order, None last, and the place of each element among them."""
    texts: list[str | None] = [*sorted({text for text in of_key if text is not None}), None]
    places = {text: place for place, text in enumerate(texts)}
    return texts, np.array([places[text] for text in of_key], dtype=np.int64)


def encoded(column: pa.Array) -> tuple[NDArray[np.int64], list[str | None]]:
    """Return which text of the list each row has."""
    made = column.dictionary_encode(null_encoding="encode")
    return made.indices.to_numpy(zero_copy_only=False).astype(np.int64), made.dictionary.to_pylist()


def joined(*columns: pa.Array) -> tuple[NDArray[np.int64], list[tuple[str | None, ...]]]:
    """Return which combination of texts each row has, and the combinations in ascending order of their codes."""
    codes = np.zeros(len(columns[0]), dtype=np.int64)
    texts: list[list[str | None]] = []
    for column in columns:
        own, names = encoded(column)
        codes = codes * max(len(names), 1) + own
        texts.append(names)
    found, places = np.unique(codes, return_inverse=True)
    combinations: list[tuple[str | None, ...]] = []
    for code in found.tolist():
        rest, parts = code, list[str | None]()
        for names in reversed(texts):
            rest, own = divmod(rest, max(len(names), 1))
            parts.append(names[own])
        combinations.append(tuple(reversed(parts)))
    return places.reshape(-1), combinations


def joined_name(parts: tuple[str | None, ...]) -> str:
    """Return several texts as one."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
