"""Releases; what is in one never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, or_, select

from host_tools.errors import ConflictError, NotFoundError
from host_tools.fleet.records.releases import Release
from host_tools.fleet.store.documents import read_artifacts, written_artifacts
from host_tools.fleet.store.tables import RELEASE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from host_tools.fleet.records.releases import ReleasedArtifact


class Releases:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, release: Release) -> None:
        """Write down a release.

        Raises:
            ConflictError: There is one with this id, or of this model with this version or counter.
        """
        same = self._connection.execute(
            select(RELEASE).where(
                or_(
                    RELEASE.c.id == release.id,
                    (RELEASE.c.model == release.model)
                    & or_(RELEASE.c.version == release.version, RELEASE.c.counter == release.counter),
                )
            )
        ).first()
        if same is not None:
            raise ConflictError(
                f"release {release.id}: there is {same.id} with version {same.version} and counter {same.counter}.",
                hint="A release keeps its name, version and counter for ever: choose new ones.",
            )
        self._connection.execute(
            insert(RELEASE).values(
                id=release.id,
                model=release.model,
                version=release.version,
                counter=release.counter,
                artifacts=written_artifacts(release.artifacts),
                created_by=release.created_by,
                created_seconds=release.created_seconds,
            )
        )

    def get(self, release: str) -> Release:
        """Return a release.

        Raises:
            NotFoundError: There is none.
        """
        row = self._connection.execute(select(RELEASE).where(RELEASE.c.id == release)).one_or_none()
        if row is None:
            raise NotFoundError(f"release {release}: there is none with that id.")
        return _release(row)

    def with_artifact(self, digest: str) -> tuple[Release, ReleasedArtifact] | None:
        """Return the release that has an artifact, of several the first by its id, with the artifact; None: none has.

        Args:
            digest: ``sha256:`` and 64 hexadecimal digits.
        """
        asked = (
            select(RELEASE)
            .where(RELEASE.c.artifacts.contains(digest, autoescape=True))
            .order_by(RELEASE.c.id)
        )
        for row in self._connection.execute(asked):
            release = _release(row)
            for artifact in release.artifacts.values():
                if artifact.digest == digest:  # and not a text that only stands somewhere else in it
                    return release, artifact
        return None

    def page(self, *, model: str | None = None, after: str = "", limit: int) -> tuple[Release, ...]:
        """Return the next releases in the order of their ids."""
        asked = select(RELEASE).where(RELEASE.c.id > after).order_by(RELEASE.c.id).limit(limit)
        if model is not None:
            asked = asked.where(RELEASE.c.model == model)
        return tuple(_release(row) for row in self._connection.execute(asked))

    def count(self) -> int:
        """Return how many there are."""
        return int(self._connection.execute(select(func.count()).select_from(RELEASE)).scalar_one())


def _release(row: Row[Any]) -> Release:
    return Release(
        id=row.id,
        model=row.model,
        version=row.version,
        counter=row.counter,
        artifacts=read_artifacts(row.artifacts, where=f"release {row.id}"),
        created_by=row.created_by,
        created_seconds=row.created_seconds,
    )
