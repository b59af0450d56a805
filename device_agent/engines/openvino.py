"""OpenVINO on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.errors import EngineError
from device_agent.engines.arrays import InputCheck
from device_agent.engines.payload import checked_files

try:
    from device_agent.engines.openvino_library import openvino as ov
except Exception as error:  # noqa: BLE001 - a library built for another machine or NumPy fails with any type
    ov = None
    _absence = f"{type(error).__name__}: {error}"

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName


class OpenVinoEngine:
    """See `device_agent.engines.engine.Engine`."""

    name: EngineName = "openvino"

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self.version = library()[1]
        self.input_names = tuple(_name(port) for port in compiled.inputs)
        self.output_names = tuple(_name(port) for port in compiled.outputs)
        self._check = InputCheck(
            self.input_names,
            [port.get_element_type().to_dtype() for port in compiled.inputs],
            [tuple(port.get_shape()) for port in compiled.inputs],
        )
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._doors = [self._request.get_input_tensor(index).data for index in range(len(self.input_names))]
        self._exits = [self._request.get_output_tensor(index).data for index in range(len(self.output_names))]

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Engine.infer`."""
        if self._request is None:
            raise EngineError("the engine is closed.")
        self._check(inputs)
        try:
            for door, array in zip(self._doors, inputs, strict=True):
                np.copyto(door, array)
            self._request.infer(share_outputs=True)
        except Exception as error:
            raise EngineError(f"OpenVINO failed: {error}") from error
        return list(self._exits)

    def close(self) -> None:
        """See `Engine.close`."""
        self._request = None
        self._doors, self._exits = [], []


def library() -> tuple[str, str]:
    """Return the library's name and version.

    Raises:
        EngineError: It is not installed.
    """
    if ov is None:
        raise EngineError(
            f"OpenVINO cannot be imported ({_absence}).", hint="pip install 'edgewright[openvino]'"
        )
    return "openvino", str(ov.__version__).split("-", 1)[0]


def load(files: Mapping[str, bytes], *, threads: int) -> OpenVinoEngine:
    """See `EngineLoader`."""
    library()
    graph, weights = checked_files("openvino", files, count=2, threads=threads)
    try:
        core = ov.Core()
        model = core.read_model(graph, weights)
        _require_static(model)
        return OpenVinoEngine(core.compile_model(model, "CPU", compile_settings(threads)))
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"OpenVINO refuses the payload: {error}") from error


def compile_settings(threads: int) -> dict[str, str | int]:
    """Return the settings of every model that is compiled, on the device and in the host's verification."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Left to itself the CPU plugin computes float parts in bfloat16 or float16 where the processor has them (AMX, Arm):
        # the outputs would then depend on the machine, and no longer be those that were verified.
        "INFERENCE_PRECISION_HINT": "f32",
    }


def _require_static(model: ov.Model) -> None:
    for port in model.inputs:
        if port.get_partial_shape().is_dynamic:
            raise EngineError(
                f"input {_name(port)!r}: expected a static shape, got {port.get_partial_shape()}."
            )


def _name(port: ov.ConstOutput) -> str:
    """Return a port's tensor name; a file need not have one, and then its node's name is all there is."""
    names = sorted(port.get_names())
    return names[0] if names else str(port.get_node().get_friendly_name())
