"""Who signs what in a repository, how many keys must agree, and how long it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FLEET: Final = "fleet"
MODEL_PREFIX: Final = "model-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRule:
    """What a role is made with.

    Attributes:
        keys: How many it gets.
        threshold: How many must sign.
        lifetime: How long a signature holds. Short where a frozen repository must be noticed, long where keys are offline.
    """

    keys: int
    threshold: int
    lifetime: timedelta


RULES: Final[Mapping[str, RoleRule]] = MappingProxyType(
    {
        "root": RoleRule(keys=3, threshold=2, lifetime=timedelta(days=730)),
        "targets": RoleRule(keys=2, threshold=2, lifetime=timedelta(days=365)),
        "snapshot": RoleRule(keys=1, threshold=1, lifetime=timedelta(days=365)),
        "timestamp": RoleRule(keys=1, threshold=1, lifetime=timedelta(days=7)),
        FLEET: RoleRule(keys=1, threshold=1, lifetime=timedelta(days=365)),
        MODEL_PREFIX: RoleRule(keys=1, threshold=1, lifetime=timedelta(days=365)),
    }
)
"""By role; `MODEL_PREFIX` is every model's."""


def rule_of(role: str) -> RoleRule:
    """Return a role's rule."""
    return RULES[MODEL_PREFIX if role.startswith(MODEL_PREFIX) else role]
