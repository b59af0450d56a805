"""`Probe`: what verification asks of an engine beyond running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.verify.verification_report import ExecutedOp

    LayerReader = Callable[[Sequence[NDArray[np.generic]]], Mapping[str, NDArray[np.float64]]]


class Probe(Protocol):
    """Looks inside one engine.

    Attributes:
        source: Where `executed_ops` reads, for people.
    """

    @property
    def source(self) -> str:
        """Where `executed_ops` reads, for people."""
        ...

    def executed_ops(self, payload: Payload, *, threads: int) -> tuple[ExecutedOp, ...]:
        """Say which operators the engine runs after its own optimization, in which precision.

        ``precision`` is ``int8`` (any 8-bit integer arithmetic), ``float32``, ``float16``, ``other`` (index and shape arithmetic)
        or ``conversion`` (quantize, dequantize, reorder: no arithmetic of the model).

        Raises:
            VerificationError: The engine cannot load the payload or does not tell.
        """
        ...

    def open_layers(self, payload: Payload, values: Sequence[str], *, threads: int) -> LayerReader:
        """Return a function from payload inputs to the real value (float64, payload layout) of each canonical value.

        Args:
            payload: What to run.
            values: Canonical value names, each a key of ``payload.tensor_names``.
            threads: Threads of one inference.

        Raises:
            VerificationError: The engine cannot load the payload or has no such tensor.
        """
        ...
