"""`Engine`: what the agent and the host's verification ask of an inference engine; one file an engine beside this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName


class Engine(Protocol):
    """A loaded model, ready to run. One thread uses it at a time.

    Attributes:
        name: Engine name.
        version: Version of the library that runs, e.g. ``1.32.0``.
        input_names: The payload's inputs in its own order.
        output_names: The payload's outputs in its own order.
    """

    name: EngineName
    version: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Run one inference.

        Args:
            inputs: One array per input, in ``input_names`` order, in the payload's type and shape; one that is not C-contiguous is
                copied by the library.

        Returns:
            One array per output, in ``output_names`` order. Valid until the next call.

        Raises:
            EngineError: The engine refused the inputs or failed.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds. Calling twice is harmless."""
        ...


class EngineLoader(Protocol):
    """How an engine module makes an `Engine`; each module has ``load`` of this shape."""

    def __call__(self, files: Mapping[str, bytes], *, threads: int) -> Engine:
        """Load a payload from memory.

        Args:
            files: File name to bytes, main file first.
            threads: How many threads one inference may use; at least 1.

        Raises:
            EngineError: The library is absent (the message says which extra brings it) or refuses the payload.
        """
        ...
