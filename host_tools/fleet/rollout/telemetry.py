"""`TelemetryFindings`: asks a telemetry store what the gates of a rollout find, not more often than once a minute."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from host_tools.fleet.rollout.measured import find, versions_of
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout
    from host_tools.review.store.windows import StoredEvent, WindowTable

BEFORE_SECONDS: Final = 86_400.0
"""Of what devices did before the first stage, so much is compared: every hour of the day once."""
_MOST_EVENTS: Final = 1_000_000


class Telemetry(Protocol):
    """The part of a `TelemetryStore` that is asked."""

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """Return merged windows."""

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """Return events, the oldest first."""


class TelemetryFindings:
    """What the gates of rollouts find in telemetry; what was found is kept for a while.

    Args:
        store: Of telemetry.
        members: Returns the devices of a group.
        period_seconds: How long a finding holds.
    """

    def __init__(
        self,
        store: Telemetry,
        members: Callable[[str], Collection[str]],
        *,
        period_seconds: float = 60.0,
    ) -> None:
        self._store = store
        self._members = members
        self._period = period_seconds
        self._kept: dict[str, tuple[float, tuple[GateFinding, ...]]] = {}

    def __call__(self, rollout: Rollout, release: Release, now_seconds: float) -> tuple[GateFinding, ...]:
        """Return one finding for each gate; none before the first stage has begun.

        Raises:
            StoreError: The store cannot answer.
        """
        began = rollout.stages[0].began_seconds
        if began is None or not rollout.plan.gates:
            return ()
        kept = self._kept.get(rollout.plan.id)
        if kept is not None and 0 <= now_seconds - kept[0] < self._period:
            return kept[1]
        found = self._found(rollout, release, began, now_seconds)
        self._kept[rollout.plan.id] = (now_seconds, found)
        return found

    def _found(
        self, rollout: Rollout, release: Release, began: float, now_seconds: float
    ) -> tuple[GateFinding, ...]:
        versions = versions_of(rollout, release)
        members = tuple(sorted(self._members(rollout.plan.group)))
        if not versions or not members:
            return find(rollout.plan.gates, None, (), {}, release=release.id)
        digests = tuple(sorted({digest for pair in versions for digest in pair}))
        before = Selection(start=began - BEFORE_SECONDS, end=now_seconds, devices=members, artifacts=digests)
        table = self._store.windows(before, level=Level.HOUR, by=("device", "artifact", "time"))
        since = Selection(start=began, end=now_seconds, devices=members)
        events = self._store.events(since, names=("update_activated",), limit=_MOST_EVENTS)
        agreements = _agreements(events, {after for _, after in versions})
        return find(
            rollout.plan.gates,
            table,
            versions,
            agreements,
            release=release.id,
            since_seconds=began - BEFORE_SECONDS,
        )


def _agreements(events: Sequence[StoredEvent], candidates: Collection[str]) -> dict[str, float]:
    """Return by device what its last shadow run of a candidate said, where outputs could be compared."""
    found = {}
    for event in events:
        details = _details(event)
        cosine = details.get("shadow_cosine")
        if (
            details.get("digest") in candidates
            and isinstance(cosine, int | float)
            and not isinstance(cosine, bool)
        ):
            found[event.device] = min(max(float(cosine), 0.0), 1.0)
    return found


def _details(event: StoredEvent) -> dict[str, Any]:
    """Return what an event says; nothing where it is no object, for a store can be filled by others."""
    try:
        details = json.loads(event.details or "{}")
    except ValueError:
        return {}
    return details if isinstance(details, dict) else {}
