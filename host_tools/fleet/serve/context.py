"""What every endpoint has at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import QuotaError

if TYPE_CHECKING:
    from host_tools.fleet.serve.limits import Limits
    from host_tools.fleet.service import FleetService
    from host_tools.fleet.store.fleet_store import FleetStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet as the endpoints see it."""

    store: FleetStore
    service: FleetService
    limits: Limits


def require_room(count: int, most: int, what: str) -> None:
    """Refuse one more of what there may be only so many.

    Raises:
        QuotaError: There are as many as there may be.
    """
    if count >= most:
        raise QuotaError(
            f"{what}: there are {count}, as many as this server keeps.", hint="Remove some first."
        )
