"""LiteRT from inside: the interpreter's execution plan with tensor types, and every tensor preserved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from host_tools.errors import VerificationError
from host_tools.verify.probes.probe import LayerValues
from host_tools.verify.verification_report import ExecutedOp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.verify.probes.probe import LayerReader

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_DELEGATE = "DELEGATE"
DELEGATE_KERNEL = "XNNPACK"
BUILT_IN_KERNEL = "built-in"


_HYBRID = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


class TfliteProbe:
    """See `host_tools.verify.probes.probe.Probe`."""

    source = "LiteRT's execution plan and tensor types"

    def executed_ops(self, payload: Payload, *, threads: int) -> tuple[ExecutedOp, ...]:
        """See `Probe.executed_ops`. ``kernel`` says whether XNNPACK took the operator."""
        delegated = _interpreter(payload, threads, OpResolverType.AUTO)
        plain = _interpreter(payload, threads, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        details = plain.get_tensor_details()
        types = {detail["index"]: np.dtype(detail["dtype"]) for detail in details}
        names = {detail["index"]: detail["name"] for detail in details}
        # The interpreter tells its plan only through this method; the public API shows tensors alone.
        taken = _taken(delegated._get_ops_details())  # noqa: SLF001
        ops: list[ExecutedOp] = []
        for op in plain._get_ops_details():  # noqa: SLF001
            outputs = [int(index) for index in op["outputs"]]
            ops.append(
                ExecutedOp(
                    name=names.get(outputs[0], "") if outputs else "",
                    op_type=op["op_name"],
                    precision=(
                        "int8"
                        if _is_hybrid(op, types)
                        else _precision(op["op_name"], types[outputs[0]])
                        if outputs
                        else "other"
                    ),
                    kernel=DELEGATE_KERNEL if op["index"] in taken else BUILT_IN_KERNEL,
                ),
            )
        return tuple(ops)

    def open_layers(self, payload: Payload, values: Sequence[str], *, threads: int) -> LayerReader:
        """See `Probe.open_layers`."""
        interpreter = _interpreter(
            payload,
            threads,
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        details = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
        wanted = {value: payload.tensor_names[value] for value in values}
        missing = sorted(set(wanted.values()) - set(details))
        if missing:
            raise VerificationError(
                f"The TFLite payload has no tensor {missing[0]!r}, which its lowering names."
            )
        doors = [detail["index"] for detail in interpreter.get_input_details()]

        def real(tensor: str) -> NDArray[np.float64]:
            return _real(interpreter.get_tensor(details[tensor]["index"]), details[tensor])

        def read(inputs: Sequence[NDArray[np.generic]]) -> LayerValues:
            try:
                for index, array in zip(doors, inputs, strict=True):
                    interpreter.set_tensor(index, array)
                interpreter.invoke()
            except (RuntimeError, ValueError) as error:
                raise VerificationError(f"LiteRT failed while running the payload: {error}") from error
            return LayerValues(wanted, real)

        return read


def _interpreter(payload: Payload, threads: int, resolver: OpResolverType, **options: bool) -> Interpreter:
    content = next(iter(payload.files.values()))
    try:
        interpreter = Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=resolver,
            **options,
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise VerificationError(f"LiteRT refuses the payload: {error}") from error
    return interpreter


def _taken(ops: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    """Return the indices of the operators that a delegate runs.

    The interpreter lists all operators of the file, and behind them one a region that a delegate took, with the tensors that enter and
    leave it: what lies between these is the region.
    """
    regions = [op for op in ops if op["op_name"] == _DELEGATE]
    writers = {int(tensor): op for op in ops if op["op_name"] != _DELEGATE for tensor in op["outputs"]}
    taken: set[int] = set()
    for region in regions:
        entering = {int(tensor) for tensor in region["inputs"]}
        wanted = [int(tensor) for tensor in region["outputs"]]
        while wanted:
            tensor = wanted.pop()
            writer = writers.get(tensor)
            if writer is not None and tensor not in entering and writer["index"] not in taken:
                taken.add(writer["index"])
                wanted += [int(one) for one in writer["inputs"]]
    return frozenset(taken)


def _is_hybrid(op: Mapping[str, Any], types: Mapping[int, np.dtype[Any]]) -> bool:
    """Tell whether an operator multiplies integers between floats: it quantizes what it reads at run time."""
    read = [types.get(int(index)) for index in list(op["inputs"])[:2]]
    return op["op_name"] in _HYBRID and read == [np.dtype(np.float32), np.dtype(np.int8)]


def _precision(op_name: str, dtype: np.dtype[Any]) -> str:
    if op_name in _CONVERSIONS:
        return "conversion"
    if dtype in (np.dtype(np.int8), np.dtype(np.uint8)):
        return "int8"
    return dtype.name if dtype.name in ("int16", "float32", "float16") else "other"


def _real(codes: NDArray[np.generic], detail: Mapping[str, Any]) -> NDArray[np.float64]:
    scales = detail["quantization_parameters"]["scales"]
    if not len(scales):
        return np.asarray(codes, dtype=np.float64)
    zero_point = detail["quantization_parameters"]["zero_points"][0]
    return (np.asarray(codes, dtype=np.float64) - float(zero_point)) * float(scales[0])
