"""Releases: one version of a model with its artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedArtifact:
    """One artifact of a release: its signed name in the repository, its digest (``sha256:…``), its length."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of a model, with one artifact for each capability profile.

    Attributes:
        id: ``NAME-VERSION``.
        model: The model's name.
        version: Its version.
        counter: Its place in the order of the model's releases; devices refuse to go below.
        artifacts: Capability profile to artifact.
        created_by: Who made it.
        created_seconds: Unix time.
    """

    id: str
    model: str
    version: str
    counter: int
    artifacts: Mapping[str, ReleasedArtifact] = field(hash=False)
    created_by: str
    created_seconds: float

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))
