"""`Probe`: what verification asks of an engine beyond running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.verify.verification_report import ExecutedOp

    LayerReader = Callable[[Sequence[NDArray[np.generic]]], "LayerValues"]


class LayerValues(Mapping[str, "NDArray[np.float64]"]):
    """Real values of one run by canonical name, each turned into float64 when it is asked for: all at once would be many times the model.

    Good until the engine runs again.
    """

    def __init__(self, tensors: Mapping[str, str], read: Callable[[str], NDArray[np.float64]]) -> None:
        """Look at one run.

        Args:
            tensors: Canonical value to the payload's tensor.
            read: Gives the real values of a tensor of the payload.
        """
        self._tensors = tensors
        self._read = read

    def __getitem__(self, value: str) -> NDArray[np.float64]:
        return self._read(self._tensors[value])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


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
            OutputError: There is no room for temporary files.
        """
        ...

    def open_layers(self, payload: Payload, values: Sequence[str], *, threads: int) -> LayerReader:
        """Return a function from payload inputs to the real value (float64, payload layout) of each canonical value.

        The function raises VerificationError where the engine cannot run them.

        Args:
            payload: What to run.
            values: Canonical value names, each a key of ``payload.tensor_names``.
            threads: Threads of one inference.

        Raises:
            VerificationError: The engine cannot load the payload or has no such tensor.
        """
        ...
