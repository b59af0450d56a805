"""`FloatRunner`: the canonical model on ONNX Runtime, the reference that everything else is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.errors import DataError, ModelError
from host_tools.model.export import serialize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel


class FloatRunner:
    """Runs the float model, one sample a call; also shows inner values when asked to.

    Graph optimisations that leave float results float are on; nothing here is quantized.
    """

    def __init__(self, model: FloatModel, *, threads: int, extra_outputs: Sequence[str] = ()) -> None:
        """Make a session.

        Args:
            model: The canonical model; not changed.
            threads: Threads of one inference, at least 1.
            extra_outputs: Names of inner values of the canonical graph to return besides the model's outputs.

        Raises:
            ModelError: An extra output is no computed value, the model is too large to serialize, or ONNX Runtime refuses it.
        """
        self._model = model
        self.input_names = tuple(spec.name for spec in model.inputs)
        outputs = tuple(spec.name for spec in model.outputs)
        extras = tuple(name for name in dict.fromkeys(extra_outputs) if name not in outputs)
        self.output_names = (*outputs, *extras)
        self._session = open_session(
            serialize(_with_outputs(model, extras)), threads=threads, name=model.name, arena=not extras
        )

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Run one sample.

        Args:
            feeds: One array an input, of the input's shape and type.

        Returns:
            Every model output and extra output by name.

        Raises:
            DataError: An input is absent, or of another shape or type.
            ModelError: ONNX Runtime failed.
        """
        for spec in self._model.inputs:
            array = feeds.get(spec.name)
            if array is None or array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
                got = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise DataError(f"Input {spec.name!r}: expected {spec.dtype} {spec.shape}, got {got}.")
        results = run_session(
            self._session, self.output_names, {name: feeds[name] for name in self.input_names}
        )
        return dict(zip(self.output_names, results, strict=True))


def open_session(
    content: bytes,
    *,
    threads: int,
    name: str,
    execution_order: ort.ExecutionOrder = ort.ExecutionOrder.DEFAULT,
    arena: bool = True,
    as_written: bool = False,
) -> ort.InferenceSession:
    """Open a float graph on ONNX Runtime's CPU provider; several threads may run it at the same time.

    Args:
        content: The serialized graph.
        threads: Threads of one inference; 1 means the thread that calls.
        name: The model's, for messages.
        execution_order: How ONNX Runtime orders the nodes.
        arena: Whether memory is kept for the next run, which is quicker; not for runs that return most of what they compute.
        as_written: Whether nothing may be optimized. Between QuantizeLinear and DequantizeLinear ONNX Runtime would else quantize float
            weights by itself.

    Raises:
        ModelError: It is refused.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is in the exception
    options.execution_order = execution_order
    options.enable_cpu_mem_arena = arena
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Threads that spin after a run would take the processor from the engine that is run next, beside which this one is held.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime {ort.__version__} refuses the float model {name!r}: {_text(error)}",
            hint="Mend the model: every engine would refuse it.",
        ) from error


def run_session(
    session: ort.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.generic]]
) -> list[NDArray[np.generic]]:
    """Run a session.

    Raises:
        ModelError: ONNX Runtime failed.
    """
    try:
        return [np.asarray(result) for result in session.run(list(outputs), dict(feeds))]
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime failed while running the float model: {_text(error)}",
            hint="Mend the model: shapes that contradict one another show only when it runs.",
        ) from error


def _with_outputs(model: FloatModel, extras: Sequence[str]) -> ir.Model:
    if not extras:
        return model.graph
    clone = model.graph.clone()
    computed = {value.name: value for node in clone.graph for value in node.outputs}
    for name in extras:
        if name not in computed:
            raise ModelError(f"{name!r} is no computed value of model {model.name!r}.")
        clone.graph.outputs.append(computed[name])
    return clone


def _text(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]  # MemoryError says nothing
