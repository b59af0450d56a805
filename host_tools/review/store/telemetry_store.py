"""`TelemetryStore`: what every database of telemetry can do. One suite of tests holds for all of them.

A store is written by one `write` at a time (DuckDB has one writing process; ClickHouse orders what comes) and read by
any number of threads. Nothing is told as written before it is durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from host_tools.review.store.tables import Batch
    from host_tools.review.store.windows import (
        DeadLetter,
        Device,
        InputTable,
        Level,
        OutputTable,
        ReadingSeries,
        Selection,
        StoredEvent,
        WindowTable,
        Written,
    )


_MADE_OF_EACH_OTHER = ("messages", "seconds_10", "minute", "hour", "day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long each kind of row is kept, in days; None keeps it for good.

    A window is kept at least as long as what it is made of: where that is there, and something comes late for it, the window
    is made anew, and one whose time was counted in longer windows before would be counted there again.

    Raises:
        InputError: One is not.
    """

    messages_days: float | None = 3.0
    seconds_10_days: float | None = 3.0
    minute_days: float | None = 14.0
    hour_days: float | None = 400.0
    day_days: float | None = None
    events_days: float | None = 400.0
    dead_letters_days: float | None = 30.0

    def __post_init__(self) -> None:
        """Hold each length against the one before."""
        for shorter, longer in pairwise(_MADE_OF_EACH_OTHER):
            made_of, kept = getattr(self, f"{shorter}_days"), getattr(self, f"{longer}_days")
            if kept is not None and (made_of is None or made_of > kept):
                told = "for good" if made_of is None else f"{made_of:g} days"
                raise InputError(
                    f"retention: {longer}: expected at least as long as {shorter}, which is kept {told}, got {kept:g} days.",
                    hint=f"Keep {shorter} shorter, or {longer} longer.",
                )


class TelemetryStore(Protocol):
    """A database of telemetry.

    Every method raises `StoreError` (`host_tools.errors`) with what, where and the next step when the database cannot
    do its work: full disk, corrupt file, newer schema, server away. After one the store holds what it held before.
    """

    def write(self, batch: Batch) -> Written:
        """Commit a batch as a whole, leaving out messages that are there already, also within the batch."""

    def roll_up(self, *, progress: Callable[[float], None] | None = None) -> int:
        """Bring every level up to date with what was written, late messages too; return how many windows changed."""

    def roll_up_for(self, seconds: float) -> bool:
        """Go on with a roll-up for about so long, at least one piece; return whether it is done: then the next call begins another."""

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """Return merged windows told apart by ``by`` (see `windows.check_axes`).

        Without ``time`` in ``by`` the whole selection is one window, and the store may use any levels that tile it.
        """

    def outputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> OutputTable:
        """Return what models gave, told apart by ``by`` of time, device and artifact."""

    def inputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> InputTable:
        """Return what models' inputs looked like where devices tell, told apart by ``by`` of time, device and artifact."""

    def devices(self, *, labels: Sequence[tuple[str, str]] = ()) -> tuple[Device, ...]:
        """Return every device that has these labels, by id."""

    def artifacts(self, selection: Selection) -> tuple[str, ...]:
        """Return the digests that ran, the one that appeared last first."""

    def model_names(self) -> Mapping[str, str]:
        """Return model and version by digest, as devices told them of every artifact that they ran; some have no name."""

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """Return events, changes of health and alarms, the latest ``limit`` of them, oldest first."""

    def readings(
        self, selection: Selection, *, names: Sequence[str] | None = None, points: int = 2000
    ) -> tuple[ReadingSeries, ...]:
        """Return each sensor's values, thinned to at most about ``points`` a series by the mean of equal intervals."""

    def dead_letters(self, *, limit: int = 100) -> tuple[DeadLetter, ...]:
        """Return the latest messages that were not understood, newest first."""

    def unmade_since(self) -> float | None:
        """Return the Unix time from which windows wait for `roll_up`, and are old or missing in answers; None when none does."""

    def label(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Give devices labels (an empty text takes one away); a device need not have been heard yet."""

    def retention(self) -> Retention:
        """Return how long rows are to be kept, as `keep` was told last."""

    def keep(self, retention: Retention) -> None:
        """Remember how long rows are to be kept; what is older goes with the next `retain`."""

    def retain(self, retention: Retention, *, now: float) -> int:
        """Remove what is older than it is to be kept; return how many rows went."""

    def export_parquet(self, folder: Path) -> None:
        """Write every table as Parquet files, with a manifest that `import_parquet` of any store reads."""

    def import_parquet(self, folder: Path) -> int:
        """Take in what `export_parquet` wrote; return how many messages were new."""

    def backup(self, path: Path) -> None:
        """Write a consistent copy while the store is in use; opening that copy restores it."""

    def close(self) -> None:
        """End the connection, when the question that is being answered is; what was written is durable already."""
