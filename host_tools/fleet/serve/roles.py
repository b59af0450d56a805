"""Which role each endpoint needs: the one table. `admission` asks it, a test walks over it, and docs/fleet.md shows it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.records.access import Role

ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "approver", "admin")
"""Each may do all that the ones before it may."""
ROOT: Final = "/api/v1"
OPEN: Final = frozenset({f"GET {ROOT}/health"})
"""What is answered to anybody: whether the server lives."""
_ENDPOINTS: Final[Mapping[Role, tuple[tuple[str, str], ...]]] = {
    "viewer": (
        ("GET", "/me"),
        ("GET", "/overview"),
        ("GET", "/events"),
        ("GET", "/devices"),
        ("GET", "/devices.csv"),
        ("GET", "/devices/{device}"),
        ("GET", "/devices/{device}/jobs"),
        ("GET", "/devices/{device}/desired"),
        ("GET", "/drift"),
        ("GET", "/groups"),
        ("GET", "/groups/{group}"),
        ("GET", "/groups/{group}/drift"),
        ("GET", "/releases"),
        ("GET", "/releases/{release}"),
        ("GET", "/rollouts"),
        ("GET", "/rollouts/{rollout}"),
        ("GET", "/rollouts/{rollout}/explain"),
        ("GET", "/rollouts/{rollout}/jobs"),
        ("GET", "/rollouts/{rollout}/jobs/{device}"),
        ("GET", "/audit"),
        ("GET", "/audit.jsonl"),
        ("GET", "/audit/check"),
    ),
    "operator": (
        ("POST", "/devices"),
        ("POST", "/devices.csv"),
        ("PATCH", "/devices/{device}"),
        ("POST", "/devices/{device}/approve"),
        ("POST", "/devices/{device}/revoke"),
        ("POST", "/devices/{device}/decommission"),
        ("POST", "/devices/{device}/pin"),
        ("DELETE", "/devices/{device}/pin"),
        ("POST", "/devices/{device}/target-token"),
        ("DELETE", "/devices/{device}/target-token"),
        ("POST", "/groups"),
        ("PATCH", "/groups/{group}"),
        ("GET", "/claims"),
        ("POST", "/claims"),
        ("DELETE", "/claims/{claim}"),
        ("POST", "/releases"),
        ("POST", "/rollouts"),
        ("POST", "/rollouts/{rollout}/submit"),
        ("POST", "/rollouts/{rollout}/pause"),
        ("POST", "/rollouts/{rollout}/resume"),
        ("POST", "/rollouts/{rollout}/abort"),
        ("POST", "/rollouts/{rollout}/rollback"),
        ("POST", "/rollouts/{rollout}/retry"),
    ),
    "approver": (
        ("POST", "/rollouts/{rollout}/approve"),
        ("POST", "/rollouts/{rollout}/stages/{stage}/approve"),
    ),
    "admin": (
        ("DELETE", "/groups/{group}"),
        ("POST", "/groups/{group}/gateway-token"),
        ("DELETE", "/groups/{group}/gateway-token"),
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/{token}"),
    ),
}
STOPPING: Final = frozenset(
    f"POST {ROOT}/rollouts/{{rollout}}/{order}" for order in ("pause", "abort", "rollback")
)
"""What no quota of changes keeps anybody from."""
NEEDED: Final[Mapping[str, Role]] = MappingProxyType(
    {f"{method} {ROOT}{path}": role for role, endpoints in _ENDPOINTS.items() for method, path in endpoints}
)


def may(role: Role, needed: Role) -> bool:
    """Return whether a role may do what needs another."""
    return ROLES.index(role) >= ROLES.index(needed)


def matrix_table() -> str:
    """Return the table as Markdown, for docs/fleet.md."""
    head = ["| endpoint | " + " | ".join(ROLES) + " |", "|---|" + "---|" * len(ROLES)]
    rows = [
        f"| `{endpoint}` | " + " | ".join("yes" if may(role, needed) else "" for role in ROLES) + " |"
        for endpoint, needed in NEEDED.items()
    ]
    opened = [f"| `{endpoint}` | " + " | ".join("yes" for _ in ROLES) + " |" for endpoint in sorted(OPEN)]
    return "\n".join([*head, *opened, *rows])
