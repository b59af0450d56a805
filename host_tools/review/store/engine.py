"""`Engine`: what the store asks of a database. All else is the same code for every database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray


ASKED: Final = "{asked}"
"""Stands in a question for the integers that are handed over beside it: ``boot IN {asked}``."""


class Engine(Protocol):
    """A database with the tables of `schema`. Every method raises `StoreError`.

    Attributes:
        where: What it is called in errors.
    """

    where: str

    def create(self, tables: Iterable[str]) -> None:
        """Make the tables that are not there."""

    def alter(self, statement: str) -> None:
        """Change a table, for a migration."""

    def add_column(self, table: str, column: str, value: str) -> None:
        """Add a column that a table lacks, with what an SQL expression gives of each row that is there, for a migration."""

    def retype(self, table: str, column: str) -> None:
        """Give a column the type that it has in `schema` now, for a migration; its values stay."""

    def select(self, sql: str, asked: NDArray[np.int64] | None = None) -> pa.Table:
        """Return what a question gives; without nulls, as the tables have none. Any thread may ask.

        Inside a transaction of this thread it sees what was changed there.

        Args:
            sql: The question.
            asked: What `ASKED` in it stands for, in any order, maybe more than once. For where they are thousands: written out by
                `one_of`, a database takes longer to read them than to look for them.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """What this thread asks within is of one moment, where the database can; whoever writes goes on meanwhile."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is done within as a whole; one at a time, others wait."""

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows that are not there."""

    def replace(self, table: str, rows: pa.Table) -> None:
        """Write rows in the place of those of the same key."""

    def remove(self, table: str, keys: pa.Table, *, also: str = "") -> None:
        """Remove the rows that have these values in the columns of ``keys`` and meet a condition."""

    def remove_where(self, table: str, condition: str) -> int:
        """Remove the rows that meet a condition; return how many."""

    def seal(self, table: str, condition: str, part: int) -> None:
        """Give another part to the windows of part 0 that meet a condition."""

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield what a question gives piece by piece."""

    def place(self, table: str, boots: pa.Table) -> None:
        """Set `moment` anew in the rows of some runs: columns ``boot``, ``wrong`` and ``start``, as `clock_evidence.moments`.

        A farewell stays: it counts when it came.
        """

    def arrange(self, table: str, start: int, end: int) -> None:
        """Lay the windows of a stretch of time out by device, where the database does not by itself."""

    def compact(self) -> None:
        """Give back room that removed rows took, where the database does not by itself."""

    def backup(self, path: Path) -> bool:
        """Write a consistent copy; False where the database has no way of its own."""

    def close(self) -> None:
        """End the connection."""


_PLAIN = re.compile(r"[A-Za-z0-9_.:-]*")


def one_of_texts(column: str, values: Iterable[str]) -> str:
    """Return a condition that a column of texts meets when it is one of these, and maybe else.

    Databases quote unlike each other, so it tells texts apart only where all of them are letters, digits and ``_.:-``.
    """
    texts = sorted(set(values))
    if not all(_PLAIN.fullmatch(text) for text in texts):
        return "1 = 1"
    return f"{column} IN ({','.join(repr(text) for text in texts)})" if texts else "1 = 0"


def one_of(column: str, values: NDArray[Any] | Iterable[int]) -> str:
    """Return the condition that a column of integers is one of these."""
    written = integer_list(values)
    return f"{column} IN ({written})" if written else "1 = 0"


def integer_list(values: NDArray[Any] | Iterable[int]) -> str:
    """Return integers as SQL lists them, each once; empty where there are none."""
    return ",".join(map(str, np.unique(np.fromiter(values, dtype=np.int64)).tolist()))
