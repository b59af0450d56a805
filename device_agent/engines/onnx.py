"""ONNX Runtime on the CPU."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from device_agent.contract.errors import EngineError
from device_agent.engines.arrays import InputCheck
from device_agent.engines.payload import checked_files
from device_agent.engines.processor import features

try:
    from device_agent.engines.onnxruntime_library import onnxruntime as ort
except Exception as error:  # noqa: BLE001 - a library built for another machine or NumPy fails with any type
    ort = None
    _absence = f"{type(error).__name__}: {error}"

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})
"""With one of these a processor adds products of 8-bit codes in 32 bits."""


class OnnxEngine:
    """See `device_agent.engines.engine.Engine`."""

    name: EngineName = "onnx"

    def __init__(self, session: ort.InferenceSession) -> None:
        self.version = library()[1]
        self.input_names = tuple(node.name for node in session.get_inputs())
        self.output_names = tuple(node.name for node in session.get_outputs())
        self._outputs = list(self.output_names)
        dtypes = [_dtype(node) for node in session.get_inputs()]
        self._check = InputCheck(self.input_names, dtypes, [_shape(node) for node in session.get_inputs()])
        self._only_dtype = dtypes[0] if len(dtypes) == 1 else None
        self._session: ort.InferenceSession | None = session

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Engine.infer`."""
        session, names = self._session, self.input_names
        if session is None:
            raise EngineError("the engine is closed.")
        try:
            # One input of the right type, which is what nearly every frame is, goes on as it is: shapes are what the library checks
            # itself, and behind a large model a second look at an array and a dict from pairs cost more than the rest of the agent.
            if len(inputs) == 1 and inputs[0].dtype is self._only_dtype:
                feeds = {names[0]: inputs[0]}
            else:
                self._check(inputs)
                feeds = dict(zip(names, inputs, strict=True))
            outputs: list[NDArray[np.generic]] = session.run(self._outputs, feeds)
        except EngineError:
            raise
        except Exception as error:
            self._check(inputs)  # names what is wrong with an array, in the same words for every engine
            raise EngineError(f"ONNX Runtime failed: {error}") from error
        return outputs

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def library() -> tuple[str, str]:
    """Return the library's name and version.

    Raises:
        EngineError: It is not installed.
    """
    if ort is None:
        raise EngineError(
            f"ONNX Runtime cannot be imported ({_absence}).", hint="pip install 'edgewright[onnx]'"
        )
    return "onnxruntime", str(ort.__version__)


def load(files: Mapping[str, bytes], *, threads: int) -> OnnxEngine:
    """See `EngineLoader`."""
    library()
    (model,) = checked_files("onnx", files, count=1, threads=threads)
    try:
        session = open_session(model, partial(session_options, threads))
    except Exception as error:
        raise EngineError(f"ONNX Runtime refuses the payload: {error}") from error
    return OnnxEngine(session)


def open_session(
    model: bytes | str, options: Callable[[], ort.SessionOptions], *, processor: frozenset[str] | None = None
) -> ort.InferenceSession:
    """Open a payload such that it computes the same on every x86 processor.

    On processors without VNNI the kernels of uint8 activations add pairs of products in 16 bits, with saturation, which wrecks weights of
    8 bits. ``x64quantprecision`` makes such weights unsigned, whose kernels do not saturate. Where VNNI is, nothing saturates, and these
    kernels take two to three times as long as the signed ones: there it is not asked for.
    Activations of int8 have no kernels for unsigned weights, and need none: theirs do not saturate.

    Args:
        model: The serialized graph, or its path.
        options: Makes them; called again for the second try, since one that is set stays set.
        processor: What a processor can do, as `features` gives it; None: this machine's. One that does not say is taken to lack VNNI.

    Raises:
        Exception: ONNX Runtime's own: it refuses the model.
    """
    found = features() if processor is None else processor
    if found is not None and found & _VNNI:
        return ort.InferenceSession(model, options(), providers=["CPUExecutionProvider"])
    exact = options()
    exact.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return ort.InferenceSession(model, exact, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - whatever type it is: the model is refused, or has activations of int8
        return ort.InferenceSession(model, options(), providers=["CPUExecutionProvider"])


def session_options(threads: int) -> ort.SessionOptions:
    """Return the settings of every session that runs a payload, on the device and in the host's verification."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Arm and x86 plans differ in signedness; this lets int8 activations fuse too, and does nothing for uint8.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    # A device has one model and other work to do: threads that spin between frames only make heat.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _dtype(node: ort.NodeArg) -> np.dtype[np.generic]:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise EngineError(f"input {node.name!r}: type {node.type} is not supported.")
    return dtype


def _shape(node: ort.NodeArg) -> tuple[int, ...]:
    if not all(isinstance(extent, int) for extent in node.shape):
        raise EngineError(f"input {node.name!r}: expected a static shape, got {node.shape}.")
    return tuple(node.shape)
