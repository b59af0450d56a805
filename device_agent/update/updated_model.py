"""`UpdatedModel`: one model as updates see it: what it is to run, and the engine that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.update.shadow import Tap

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.config import ArtifactSection
    from device_agent.engines.engine import Engine


class UpdatedModel:
    """See the module's docstring. Whoever runs the model begins with `artifact`, and begins anew when that has become another one.

    Args:
        artifact: The delivered one.
        failed: Takes code and message when the model cannot go on.

    Attributes:
        artifact: What it is to run.
        failed: As given.
        tap: Its engine, while it is loaded; None before.
    """

    def __init__(self, artifact: ArtifactSection, failed: Callable[[str, str], None]) -> None:
        self.artifact = artifact
        self.failed = failed
        self.tap: Tap | None = None
        self._nonfinite = 0

    def tapped(self, engine: Engine) -> Engine:
        """Return the engine, with its frames to be seen by a shadow run; on the worker's thread."""
        tap = Tap(engine)
        self._nonfinite, self.tap = 0, tap
        return tap

    def take_nonfinite(self) -> int:
        """Return how many looked-at outputs held NaN or infinity since the last call."""
        found = 0 if self.tap is None else self.tap.nonfinite - self._nonfinite
        self._nonfinite += found
        return found
