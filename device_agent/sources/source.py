"""`Frame` and `Source`: one thing to infer on at a time, from wherever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame, ready for the engine.

    Attributes:
        id: File name, index or number of the message; for results and messages.
        inputs: The payload's inputs in its order, type and layout.
    """

    id: str
    inputs: Sequence[NDArray[np.generic]]


class Source(Protocol):
    """Gives frames one at a time.

    Attributes:
        dropped: Frames that came and were thrown away because nobody took them in time.
        refused: Frames that came and could not be understood.
    """

    dropped: int
    refused: int

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
