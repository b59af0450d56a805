"""`Kernel`: what an operator becomes once all that does not change from sample to sample has been worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Codes = NDArray[np.integer]

Kernel = Callable[[Sequence[Array]], Sequence[Codes]]
"""Takes the node's inputs as it reads them (codes; an empty array for one that is left out), gives the codes of its outputs."""
