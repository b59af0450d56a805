"""`WindowReport`: the windows of one model, one message for each side of a split, and the frames that were not understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.telemetry.measurements import InputWindow
from device_agent.telemetry import sampler

if TYPE_CHECKING:
    from device_agent.inference import Window
    from device_agent.model_runner import ModelRunner
    from device_agent.telemetry.recorder import Recorder


class WindowReport:
    """See the module's docstring. One thread calls it.

    Args:
        runner: Of the model.
        recorder: Takes the messages.
        model: Its name, where there are several; else None.
        now_seconds: Monotonic time.
    """

    def __init__(
        self, runner: ModelRunner, recorder: Recorder, *, model: str | None, now_seconds: float
    ) -> None:
        self._runner = runner
        self._recorder = recorder
        self._model = model
        self._is_main = model in (None, MAIN_MODEL)
        self._refused_told = 0
        self._started_seconds = now_seconds

    def begin(self, now_seconds: float) -> None:
        """Count a window's seconds from now on: inference begins."""
        self._started_seconds = now_seconds

    def close(self, now_seconds: float, *, model_runs: bool) -> tuple[tuple[Window, ...], float]:
        """Record the window that ends now.

        Args:
            now_seconds: Monotonic time.
            model_runs: Whether inferences were to be expected.

        Returns:
            What was seen, of side `a` first, valid until the next call; and the window's length in seconds.
        """
        seconds, self._started_seconds = now_seconds - self._started_seconds, now_seconds
        windows = []
        for side in self._runner.sides:
            window = side.meter.close_window()
            windows.append(window)
            own = side.variant != "b"
            is_about_something = window.inferences_total or model_runs or self._runner.has_source
            if not is_about_something or (side.archive is None and not own):
                continue
            # The main model's digest is the stamper's, which changes when the loop hears that another artifact runs.
            digest = None if side.archive is None or (self._is_main and own) else side.archive.digest
            self._recorder.measurement(
                sampler.inference_window(
                    self._recorder.next_envelope(digest),
                    latencies=window.latencies,
                    counters=sampler.Counters(
                        inferences=window.inferences_total,
                        errors=window.errors_total,
                        dropped_frames=self._runner.dropped_frames if own else 0,
                    ),
                    window_seconds=max(seconds, 1e-9),
                    idle_reason=window.last_error if window.errors else "no frame came in this window",
                    model=self._model,
                    variant=side.variant,
                )
            )
            frames, inputs = side.meter.sketcher.close_window()
            if inputs:
                self._recorder.measurement(
                    InputWindow(
                        envelope=self._recorder.next_envelope(digest),
                        model=self._model,
                        variant=side.variant,
                        frame_count=frames,
                        inputs=inputs,
                    )
                )
        return tuple(windows), seconds

    def tell_refused_frames(self) -> None:
        """If frames were not understood, record an event that tells; called once a window."""
        refused, last = self._runner.refused_frames, self._runner.refusals.close_window()
        if refused > self._refused_told:
            count = refused - self._refused_told
            whose = "" if self._model is None else f" by model {self._model}"
            self._recorder.event(
                "frames_refused",
                "warning",
                f"{count} frames were not understood{whose}. The last one: {last}",
                {"frames": count, **({} if self._model is None else {"model": self._model})},
            )
        self._refused_told = refused
