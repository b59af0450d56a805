"""What a full spool drops: the oldest of the least important kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from device_agent.telemetry.store import SpooledMessage, Store

_DROPPED_FIRST: Final = (Kind.RESULT, Kind.MEASUREMENT, Kind.EVENT)
_PAGE_ROWS: Final = 256


def choose_to_drop(
    store: Store,
    pending: Sequence[SpooledMessage],
    *,
    excess_rows: int,
    excess_bytes: int,
    spared: Collection[int],
) -> dict[int, tuple[Kind, int]]:
    """Choose the oldest of the least important kinds until nothing is too much, or nothing is left to choose.

    Args:
        store: What is in it is older than what waits.
        pending: Messages that wait, oldest first.
        excess_rows: Messages beyond the bound; 0 or less: none.
        excess_bytes: The same in bytes.
        spared: Ids of messages that stay.

    Returns:
        Ids of the chosen ones, each with its kind and size in bytes.
    """
    dropped: dict[int, tuple[Kind, int]] = {}
    for kind in _DROPPED_FIRST:
        for message_id, freed in _oldest(store, pending, kind):
            if excess_rows <= 0 and excess_bytes <= 0:
                return dropped
            if message_id not in spared:
                dropped[message_id] = (kind, freed)
                excess_rows, excess_bytes = excess_rows - 1, excess_bytes - freed
    return dropped


def _oldest(store: Store, pending: Sequence[SpooledMessage], kind: Kind) -> Iterable[tuple[int, int]]:
    """Yield ``(id, size)`` of a kind, oldest first: those in the store, then those that wait."""
    after = 0
    while page := store.oldest_sizes(kind, after=after, limit=_PAGE_ROWS):
        yield from page
        after = page[-1][0]
    for message in pending:
        if message.kind is kind:
            yield message.id, message.size_bytes
