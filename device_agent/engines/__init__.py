"""Inference engines behind one protocol.

Layout:
    engine.py    the `Engine` and `EngineLoader` protocols
    arrays.py    input checks that every engine shares
    payload.py   checks of a loader's arguments
    onnx.py      ONNX Runtime
    onnxruntime_library.py  its package without telemetry
    tflite.py    LiteRT, then tflite-runtime, then TensorFlow; tflite_bounds.py checks the file first
    openvino.py  OpenVINO on the CPU; openvino_library.py is its package without telemetry
    null.py      zeros after a wait: no library, no numpy
    processor.py what the processor can do, which some kernels need
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from device_agent.contract.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.engines.engine import Engine, EngineLoader

ENGINES: Mapping[str, str] = {
    "onnx": "device_agent.engines.onnx",
    "tflite": "device_agent.engines.tflite",
    "openvino": "device_agent.engines.openvino",
    "null": "device_agent.engines.null",
}
"""Engine name to the module that loads it; imported only when asked for."""


def load_engine(name: str, files: Mapping[str, bytes], *, threads: int) -> Engine:
    """Load a payload into an engine.

    Args:
        name: A key of `ENGINES`.
        files: File name to bytes, main file first.
        threads: Threads of one inference; at least 1.

    Raises:
        EngineError: Unknown engine, its library is absent, or it refuses the payload.
    """
    loader: EngineLoader = _module(name).load
    return loader(files, threads=threads)


def available() -> dict[str, str]:
    """Return for each engine the library's name and version, or ``unavailable: `` and the reason."""
    return {name: _availability(name) for name in ENGINES}


def library_of(name: str) -> tuple[str, str]:
    """Return the library behind an engine, by its distribution name, and its version.

    Raises:
        EngineError: Unknown engine, or its library is absent.
    """
    library: tuple[str, str] = _module(name).library()
    return library


def _availability(name: str) -> str:
    try:
        library, version = library_of(name)
    except EngineError as error:
        return f"unavailable: {error}"
    return f"{library} {version}"


def _module(name: str) -> Any:
    if name not in ENGINES:
        raise EngineError(f"engine {name!r} is unknown; there are {', '.join(ENGINES)}.")
    try:
        return import_module(ENGINES[name])
    except ModuleNotFoundError as error:  # NumPy comes with an engine's library, and is not there without one
        raise EngineError(
            f"engine {name!r} needs {error.name}, which is not installed.", hint=f"pip install {error.name}"
        ) from error
