"""How much of everything there may be, and how fast it may be asked for: one that runs wild must not cost the others theirs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from host_tools.fleet.inventory import MOST_DEVICES

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many a second in the long run, and so many at once."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server allows.

    Attributes:
        requests: Of one token.
        refusals: Of one address that shows tokens that are none.
        changes_per_hour: Of one name, counted in the audit, so that a restart forgets nothing.
        streams: Event streams of one token at a time.
        body_bytes: Of a request.
        import_bytes: Of a device list.
        devices: In the fleet.
        groups: In the fleet.
        releases: In the fleet.
        open_rollouts: That have not ended.
        tokens: That are good at a time.
    """

    requests: Rate = Rate(per_second=50.0, burst=200.0)
    refusals: Rate = Rate(per_second=0.2, burst=20.0)
    changes_per_hour: int = 5_000
    streams: int = 8
    body_bytes: int = 1 << 20
    import_bytes: int = 16 << 20
    devices: int = MOST_DEVICES
    groups: int = 2_000
    releases: int = 20_000
    open_rollouts: int = 500
    tokens: int = 1_000


class Buckets:
    """Token buckets by name; the least used is forgotten when there are too many, which gives it its burst back.

    Args:
        rate: Of each.
        seconds: A clock that never goes back.
    """

    def __init__(self, rate: Rate, *, seconds: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._seconds = seconds
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one; return 0, or after how many seconds there is one again."""
        with self._lock:
            level = self._filled(name)
            wait = 0.0 if level >= 1.0 else (1.0 - level) / self._rate.per_second
            self._keep(name, level - 1.0 if wait == 0.0 else level)
            return wait

    def _filled(self, name: str) -> float:
        level, at = self._levels.get(name, (self._rate.burst, self._seconds()))
        return min(self._rate.burst, level + (self._seconds() - at) * self._rate.per_second)

    def _keep(self, name: str, level: float) -> None:
        self._levels[name] = (level, self._seconds())
        self._levels.move_to_end(name)
        if len(self._levels) > _MOST_BUCKETS:
            self._levels.popitem(last=False)
