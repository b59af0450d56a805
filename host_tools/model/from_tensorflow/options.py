"""What a user says about a model of TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFlowOptions:
    """How a model of TensorFlow or Keras is read; other models have no use for it.

    Attributes:
        signature: Which signature of a SavedModel; None: its only one, or ``serving_default``.
        python: The Python that has TensorFlow and tf2onnx; None: ``EDGEWRIGHT_TENSORFLOW_PYTHON``, else the one that runs this.
        cache: Folder of cached conversions; None: the user's.
    """

    signature: str | None = None
    python: str | Path | None = None
    cache: str | Path | None = None
