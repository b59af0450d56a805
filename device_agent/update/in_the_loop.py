"""`UpdatesOn` and `UpdatesOff`: updates as the agent's loop sees them. One of the two is there, so the loop never asks which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.occurrences import Failed, ModelFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.config import ArtifactSection
    from device_agent.contract.telemetry.message import Scalar
    from device_agent.inference import Window
    from device_agent.occurrences import SourceEnded, StopRequested
    from device_agent.telemetry.recorder import Recorder
    from device_agent.update.jobs import Answer
    from device_agent.update.report import Following
    from device_agent.update.updated_model import UpdatedModel
    from device_agent.update.updates import Updates

    End = Failed | ModelFailed | StopRequested | SourceEnded
    """How a model or the agent ends."""


class UpdatesOn:
    """Tells updates what happened to the models, and the host what the device follows. The loop's thread calls it.

    Args:
        updates: What it tells.
        recorder: Takes what is followed.

    Attributes:
        artifact: What the main model is to run in this process.
        models: Each model that is updated, by its name.
    """

    def __init__(self, updates: Updates, recorder: Recorder) -> None:
        self._updates = updates
        self._recorder = recorder
        self._told: Following | None = None
        self.artifact: ArtifactSection = updates.begin()
        self.models: Mapping[str, UpdatedModel] = updates.models

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which `turn` wants to be called."""
        return self._updates.next_due_seconds

    def turn(self, now_seconds: float) -> None:
        """Do what is due, and tell what is followed where that has changed since it was told; the first time is with the birth."""
        self._updates.turn(now_seconds)
        if self._told not in (None, self._updates.following):
            self.tell_following()

    def tell_following(self) -> None:
        """Record what the device follows now."""
        self._told = self._updates.following
        self._recorder.reported(self._told)

    def handle(self, answer: Answer) -> None:
        """Take in the end of a step."""
        self._updates.handle(answer)

    def ended(self, end: End, *, variant_ran: bool) -> None:
        """Take in the end: a model that fails on probation is taken back before the agent ends.

        An end that was asked for, or that came while the variant ran, is not held against it.
        """
        if isinstance(end, Failed | ModelFailed) and not variant_ran:
            self._updates.failed(end.code, end.message)
        elif not isinstance(end, ModelFailed):  # after which the agent goes on
            self._updates.stopping()

    def observed(
        self, windows: Mapping[str, Window], *, read_celsius: Callable[[], float | None], heat: str
    ) -> None:
        """Take in what windows of models saw.

        Args:
            windows: By the model's name.
            read_celsius: Returns the temperature now; None: not known.
            heat: Why the device was too hot in them; empty: it was not.
        """
        celsius = read_celsius()
        for name, window in windows.items():
            self._updates.observed(
                inferences=window.latencies.count,
                errors=window.errors,
                p95_seconds=window.latencies.quantile_seconds(0.95),
                celsius=celsius,
                heat=heat,
                model=name,
            )

    def status(self, now_seconds: float) -> dict[str, Mapping[str, Scalar]]:
        """Return the section ``updates`` of a status."""
        return {"updates": self._updates.status(now_seconds)}

    def close(self) -> None:
        """End what is under way."""
        self._updates.close()


class UpdatesOff:
    """No updates are configured: what is delivered runs, and nothing is due or told.

    Args:
        artifact: The delivered one.
    """

    next_due_seconds: Final = float("inf")

    def __init__(self, artifact: ArtifactSection) -> None:
        self.artifact = artifact
        self.models: Mapping[str, UpdatedModel] = {}

    def turn(self, now_seconds: float) -> None:
        """Nothing is ever due."""

    def tell_following(self) -> None:
        """Nothing is followed."""

    def handle(self, answer: Answer) -> None:
        """No step was begun that could end."""

    def ended(self, end: End, *, variant_ran: bool) -> None:
        """Nothing could be taken back."""

    def observed(
        self, windows: Mapping[str, Window], *, read_celsius: Callable[[], float | None], heat: str
    ) -> None:
        """Nothing is on probation."""

    def status(self, now_seconds: float) -> dict[str, Mapping[str, Scalar]]:  # noqa: ARG002
        """Return no section."""
        return {}

    def close(self) -> None:
        """Nothing is under way."""
