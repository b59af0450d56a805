"""TFLite files: LiteRT where it is installed, then tflite-runtime, then TensorFlow's interpreter."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING, Any

import numpy as np

from device_agent.contract.errors import EngineError
from device_agent.engines.arrays import InputCheck
from device_agent.engines.payload import checked_files
from device_agent.engines.tflite_bounds import require_bounds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName

_LIBRARIES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)


class TfliteEngine:
    """See `device_agent.engines.engine.Engine`. ``library`` says which of the three libraries runs."""

    name: EngineName = "tflite"

    def __init__(self, interpreter: Any, library_name: str, version: str) -> None:
        self.library = library_name
        self.version = version
        doors, exits = interpreter.get_input_details(), interpreter.get_output_details()
        _require_static(doors)
        self.input_names = tuple(str(detail["name"]) for detail in doors)
        self.output_names = tuple(str(detail["name"]) for detail in exits)
        self._check = InputCheck(
            self.input_names,
            [np.dtype(detail["dtype"]) for detail in doors],
            [tuple(int(extent) for extent in detail["shape"]) for detail in doors],
        )
        self._doors = [int(detail["index"]) for detail in doors]
        self._exits = [int(detail["index"]) for detail in exits]
        self._interpreter = interpreter

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Engine.infer`."""
        interpreter = self._interpreter
        if interpreter is None:
            raise EngineError("the engine is closed.")
        self._check(inputs)
        try:
            for index, array in zip(self._doors, inputs, strict=True):
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in self._exits]
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{self.library} failed: {error}") from error

    def close(self) -> None:
        """See `Engine.close`."""
        self._interpreter = None


def library() -> tuple[str, str]:
    """Return the library's name and version.

    Raises:
        EngineError: None of the three is installed, or none can be imported.
    """
    name, _, version = _library()
    return name, version


def load(files: Mapping[str, bytes], *, threads: int) -> TfliteEngine:
    """See `EngineLoader`."""
    name, module, version = _library()
    (model,) = checked_files("tflite", files, count=1, threads=threads)
    require_bounds(model)
    try:
        interpreter = module.Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
        return TfliteEngine(interpreter, name, version)
    except (RuntimeError, ValueError, TypeError) as error:
        raise EngineError(f"{name} {version} refuses the payload: {error}") from error


def _require_static(details: Sequence[Mapping[str, Any]]) -> None:
    """Refuse inputs that want to be resized; the signature has -1 where the file leaves an extent open."""
    for detail in details:
        signature = [int(extent) for extent in detail.get("shape_signature", detail["shape"])]
        if min(signature, default=1) < 0:
            raise EngineError(f"input {str(detail['name'])!r}: expected a static shape, got {signature}.")


def _library() -> tuple[str, Any, str]:
    reasons: list[str] = []
    for name, module in _LIBRARIES:
        try:
            return name, import_module(module), distribution_version(name)
        except Exception as error:  # noqa: BLE001 - a library built for another machine or NumPy fails with any type
            reasons.append(f"{name}: {type(error).__name__}: {error}")
    raise EngineError(
        f"no TFLite interpreter can be imported ({'; '.join(reasons)}).",
        hint="pip install 'edgewright[tflite]', or 'edgewright[tflite-legacy]' on old boards.",
    )
