"""`DeadLetters`: what was not understood, the latest of it: whoever sends nothing else must not fill the disk with it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.store.engine import Engine
    from host_tools.review.store.limits import Limits


class DeadLetters:
    """Writes letters, and removes the oldest when there are more than may be.

    Args:
        engine: Of the store.
        limits: How many may be there. Up to twice as many are, for looking at all of them takes a while.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self.reload()

    def reload(self) -> None:
        """Count what is committed."""
        rows = self._engine.select(
            "SELECT count(*) AS letters, coalesce(sum(length(payload)), 0) AS bytes FROM dead_letter"
        )
        self._letters, self._bytes = (int(rows.column(name)[0].as_py()) for name in ("letters", "bytes"))

    def write(self, several: Sequence[pa.RecordBatch]) -> int:
        """Write letters and return how many."""
        if not several:
            return 0
        rows = pa.Table.from_batches(several)
        payload = pa.array(
            [base64.b64encode(one).decode() for one in rows.column("payload").to_pylist()], pa.string()
        )
        rows = rows.set_column(rows.column_names.index("payload"), "payload", payload)
        self._engine.append("dead_letter", rows)
        self._letters += rows.num_rows
        self._bytes += sum(len(one) for one in payload.to_pylist())
        if self._letters > 2 * self._limits.dead_letters or self._bytes > 2 * self._limits.dead_letter_bytes:
            self._remove_oldest()
        return len(rows)

    def _remove_oldest(self) -> None:
        there = self._engine.select(
            "SELECT received, length(payload) AS bytes FROM dead_letter ORDER BY received DESC"
        )
        received = there.column("received").to_numpy()
        fits = np.cumsum(there.column("bytes").to_numpy()) <= self._limits.dead_letter_bytes
        kept = min(int(fits.sum()), self._limits.dead_letters, len(received) - 1)
        # Those received at the moment of the first that goes may be many: a batch is received at one time.
        self._engine.remove_where("dead_letter", f"received <= {float(received[kept])!r}")
        self.reload()
