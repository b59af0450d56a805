"""The null engine: zeros after a wait. No inference library and no numpy, to measure and test everything around inference.

Its payload is JSON::

    {"inputs": ["x"], "outputs": [{"name": "y", "size_bytes": 40}], "latency_seconds": 0.001}
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, cast

from device_agent.contract.errors import EngineError
from device_agent.engines.payload import checked_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName

VERSION = "1.0"
_LATENCY_MAX_SECONDS = 60.0
_OUTPUT_MAX_BYTES = 1 << 26


class NullEngine:
    """See `device_agent.engines.engine.Engine`. Outputs are byte buffers of zeros."""

    name: EngineName = "null"
    version = VERSION

    def __init__(self, inputs: Sequence[str], outputs: Mapping[str, int], latency_seconds: float) -> None:
        self.input_names = tuple(inputs)
        self.output_names = tuple(outputs)
        # Buffers, not arrays: this engine must not load numpy. What reads outputs asks the manifest for their type.
        self._outputs = cast(
            "list[NDArray[np.generic]]", [memoryview(bytes(size)) for size in outputs.values()]
        )
        self._latency_seconds = latency_seconds
        self._closed = False

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Engine.infer`."""
        if self._closed:
            raise EngineError("the engine is closed.")
        if len(inputs) != len(self.input_names):
            raise EngineError(
                f"expected {len(self.input_names)} inputs ({', '.join(self.input_names)}), got {len(inputs)}."
            )
        if self._latency_seconds:
            time.sleep(self._latency_seconds)
        return list(self._outputs)

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True


def library() -> tuple[str, str]:
    """Return name and version; always there."""
    return "null", VERSION


def load(files: Mapping[str, bytes], *, threads: int) -> NullEngine:
    """See `EngineLoader`; one thread is all it uses."""
    (payload,) = checked_files("null", files, count=1, threads=threads)
    try:
        fields = json.loads(payload)
        inputs = [str(name) for name in fields["inputs"]]
        outputs = {str(output["name"]): int(output["size_bytes"]) for output in fields["outputs"]}
        latency = float(fields.get("latency_seconds", 0.0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise EngineError(f"the null engine refuses the payload: {type(error).__name__}: {error}.") from error
    if not 0.0 <= latency <= _LATENCY_MAX_SECONDS:
        raise EngineError(
            f"the null engine: latency_seconds: expected 0 to {_LATENCY_MAX_SECONDS:g}, got {latency}."
        )
    if any(not 0 <= size <= _OUTPUT_MAX_BYTES for size in outputs.values()):
        raise EngineError(f"the null engine: size_bytes: expected 0 to {_OUTPUT_MAX_BYTES}, got {outputs}.")
    return NullEngine(inputs, outputs, latency)
