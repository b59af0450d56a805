"""What is kept as JSON inside a column: plans, progress, artifacts, findings. The store's own words, so a text that does not fit is damage."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from device_agent.contract.desired import DesiredArtifact
from host_tools.errors import StoreError
from host_tools.fleet.records.releases import ReleasedArtifact

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def written(value: object) -> str:
    """Return a frozen record, or a tuple of such, as JSON."""
    return msgspec.json.encode(value, order="deterministic", enc_hook=_plain).decode()


def read(text: str, kind: type[T], *, where: str) -> T:
    """Read what `written` wrote.

    Raises:
        StoreError: It is something else.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StoreError(
            f"{where}: the store is damaged: {error}.", hint="Restore the newest backup of it."
        ) from error


def written_artifacts(artifacts: Mapping[str, ReleasedArtifact]) -> str:
    """Return artifacts by capability profile as JSON."""
    return written(dict(artifacts))


def read_artifacts(text: str, *, where: str) -> dict[str, ReleasedArtifact]:
    """Read what `written_artifacts` wrote.

    Raises:
        StoreError: It is something else.
    """
    kind: Any = dict[str, ReleasedArtifact]
    found: dict[str, ReleasedArtifact] = read(text, kind, where=where)
    return found


def read_pinned(text: str, *, where: str) -> dict[str, DesiredArtifact]:
    """Read what `written` wrote of a pin's artifacts.

    Raises:
        StoreError: It is something else.
    """
    kind: Any = dict[str, DesiredArtifact]
    found: dict[str, DesiredArtifact] = read(text, kind, where=where)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
