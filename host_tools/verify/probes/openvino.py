"""OpenVINO from inside: the compiled runtime model, and extra outputs on the model as written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent.engines.openvino import compile_settings
from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import VerificationError
from host_tools.lower.openvino_ir import GROUP_OPTION
from host_tools.verify.probes.probe import LayerValues
from host_tools.verify.verification_report import ExecutedOp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.verify.probes.probe import LayerReader

_CONVERSIONS = frozenset({"Reorder", "Convert", "FakeQuantize", "Quantize"})
_SHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze"})  # a new shape for the same bytes
_CODES = "/codes"  # how the lowering names the way from real numbers to codes
_NOT_EXECUTED = frozenset({"Input", "Output", "Const"})
_INTEGER = frozenset({"u8", "i8"})
_COMPRESSED = {"u8": 8, "i8": 8, "u4": 4, "i4": 4}


class OpenVinoProbe:
    """See `host_tools.verify.probes.probe.Probe`."""

    source = "OpenVINO's runtime model"

    def executed_ops(self, payload: Payload, *, threads: int) -> tuple[ExecutedOp, ...]:
        """See `Probe.executed_ops`."""
        model = _read(payload)
        own_names = {node.get_friendly_name() for node in model.get_ops()}
        keeps_floats = _keeps_floats(model)
        compiled = _compile(model, threads)
        ops: list[ExecutedOp] = []
        for node in compiled.get_runtime_model().get_ordered_ops():
            info = {key: str(node.rt_info[key].astype(str)) for key in node.rt_info}
            layer, kernel = info.get("layerType", node.get_type_name()), info.get("primitiveType", "")
            if layer in _NOT_EXECUTED or _is_done_before(node):
                continue
            origins = info.get("originalLayersNames", "") or node.get_friendly_name()
            ops.append(
                ExecutedOp(
                    name=_known(origins, own_names) or layer,
                    op_type=layer,
                    precision=_precision(
                        layer, info.get("runtimePrecision", ""), kernel, origins, keeps_floats=keeps_floats
                    ),
                    kernel=kernel,
                ),
            )
        return tuple(ops)

    def open_layers(self, payload: Payload, values: Sequence[str], *, threads: int) -> LayerReader:
        """See `Probe.open_layers`."""
        model = _read(payload)
        wanted = {value: payload.tensor_names[value] for value in values}
        try:
            present = {name for output in model.outputs for name in output.get_names()}
            model.add_outputs(sorted(set(wanted.values()) - present))
            # A float model's precision on the way: no fusing of what we want to see apart.
            request = _compile(model, threads).create_infer_request()
        except Exception as error:
            raise VerificationError(f"OpenVINO cannot show the tensors of the payload: {error}") from error

        def read(inputs: Sequence[NDArray[np.generic]]) -> LayerValues:
            try:
                request.infer(dict(enumerate(inputs)))
            except Exception as error:
                raise VerificationError(f"OpenVINO failed while running the payload: {error}") from error
            return LayerValues(
                wanted, lambda tensor: np.array(request.get_tensor(tensor).data, dtype=np.float64)
            )

        return read


def _read(payload: Payload) -> ov.Model:
    xml, weights = payload.files.values()
    try:
        return ov.Core().read_model(xml, weights)
    except Exception as error:
        raise VerificationError(f"OpenVINO cannot read the payload: {error}") from error


def _compile(model: ov.Model, threads: int) -> ov.CompiledModel:
    try:
        return ov.Core().compile_model(model, "CPU", compile_settings(threads))
    except Exception as error:
        raise VerificationError(f"OpenVINO cannot compile the payload: {error}") from error


def _is_done_before(node: ov.Node) -> bool:
    """Tell whether a node of the runtime model moves a constant, which is done once, when the model is compiled."""
    return node.get_input_size() > 0 and all(
        str(port.get_node().rt_info["layerType"].astype(str)) == "Const" for port in node.input_values()
    )


def _known(origins: str, own_names: AbstractSet[str]) -> str:
    """Leave out names that OpenVINO made up: they hold a counter of the process, and reports are to be the same byte for byte."""
    return ",".join(name for name in origins.split(",") if name in own_names)


def _keeps_floats(model: ov.Model) -> bool:
    """Tell whether the file asks for floats before compressed weights; then the precision of a product is only that of its weights."""
    return bool(
        model.has_rt_info(list(GROUP_OPTION)) and str(model.get_rt_info(list(GROUP_OPTION)).value) == "0"
    )


def _precision(layer: str, runtime: str, kernel: str, original_names: str, *, keeps_floats: bool) -> str:
    bits = _COMPRESSED.get(runtime.lower())
    if layer == "FullyConnected" and bits is not None and (keeps_floats or bits == 4):
        return f"{'float32' if keeps_floats else 'int8'} (int{bits} weights)"
    if runtime.lower() == "f16" and kernel.endswith(
        "_f32"
    ):  # named after its weights, the kernel after what it multiplies them by
        return "float32 (float16 weights)"
    if layer in _CONVERSIONS or all(_CODES in name for name in original_names.split(",")):
        return "conversion"
    if runtime.lower() in _INTEGER:
        return "int8"
    if layer in _SHAPES:
        return "other"
    return {"f32": "float32", "f16": "float16", "bf16": "float16"}.get(runtime.lower(), "other")
