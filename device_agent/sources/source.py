"""`Frame` and `Source`: one thing to infer on at a time, from wherever."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Describe(Protocol):
    """Writes a frame's result as JSON, for whoever asked."""

    def __call__(self, frame: str, duration_ns: int, outputs: Sequence[NDArray[np.generic]]) -> bytes:
        """Return it; ``outputs`` are read before this returns."""
        ...


class Answer(Protocol):
    """Somebody who waits for a frame's result; one of the two is called, once, on the inference loop's thread."""

    def give(self, duration_ns: int, outputs: Sequence[NDArray[np.generic]]) -> None:
        """Hand over the result."""

    def refuse(self, reason: str) -> None:
        """Say why there is none."""


def refusal_bytes(reason: str) -> bytes:
    """Return the answer that says why there is no result."""
    return json.dumps({"error": reason}).encode()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame, ready for the engine.

    Attributes:
        id: File name, index or number of the message; for results and messages.
        inputs: The payload's inputs in its order, type and layout.
        answer: Who waits for the result; None: nobody.
    """

    id: str
    inputs: Sequence[NDArray[np.generic]]
    answer: Answer | None = None


class Source(Protocol):
    """Gives frames one at a time."""

    @property
    def dropped(self) -> int:
        """Frames that came and were thrown away because nobody took them in time."""
        ...

    @property
    def refused(self) -> int:
        """Frames that came and could not be understood."""
        ...

    def next(self, timeout_seconds: float) -> Frame | None:
        """Return the next frame, or None when none came in time.

        Raises:
            SourceEnded: There will be no more.
            DeviceError: A frame cannot be read.
        """
        ...

    def close(self) -> None:
        """Give back what the source holds. Calling twice is harmless."""
        ...


class SourceEnded(Exception):  # noqa: N818 - no error: the ordinary end
    """The source has no more frames."""
