"""Integers in an OpenVINO network: real numbers to codes, codes to real numbers, weights as codes; and weights in float16 or by a codebook."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import LoweringError
from host_tools.plan.clustering import nearest
from host_tools.plan.codebooks import index_bits
from host_tools.plan.codes import codes_of as planned_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams


def replace_weight(node: Any, codes: NDArray[np.integer], qparams: QParams, name: str) -> None:
    """Put codes in place of the weight of a weighted node, with the way to real numbers behind them.

    Args:
        node: OpenVINO's node; the weight is its second input and may have an axis of groups in front.
        codes: Codes in the canonical shape.
        qparams: Their parameters, with the axis in the canonical shape.
        name: The weight, for names and messages.

    Raises:
        LoweringError: The shapes do not belong together.
    """
    shape = tuple(node.get_input_shape(1))
    has_groups = len(shape) == codes.ndim + 1
    if codes.size != int(np.prod(shape)) or (shape != codes.shape and not has_groups):
        raise LoweringError(
            f"Weight {name!r}: OpenVINO's reader gave it shape {shape}; expected {codes.shape} or groups of it."
        )
    aligned = [1] * codes.ndim
    if qparams.axis is not None:
        aligned[qparams.axis] = len(qparams.scale)
    if has_groups:
        # Along the first axis the groups follow one another; along any other the scales serve every group.
        aligned = [shape[0], aligned[0] // shape[0], *aligned[1:]] if qparams.axis == 0 else [1, *aligned]
    constant = ov.opset13.constant(codes.reshape(shape), dtype=element_type(qparams), name=f"{name}/codes")
    real = real_of(constant.output(0), qparams, name, aligned=tuple(aligned))
    node.input(1).replace_source_output(real.output(0))


def replace_groups(
    node: Any, weight: NDArray[np.generic], qparams: QParams, name: str, *, was_transposed: bool
) -> None:
    """Put codes in groups in place of the weight of a MatMul: (outputs, groups, group), from which OpenVINO's kernels read them packed.

    A scale a channel is that of one group a channel.

    Args:
        node: OpenVINO's MatMul; its weight is the second input.
        weight: Real numbers, (outputs, inputs); whole groups of them.
        qparams: Their parameters, in groups or by output channel.
        name: The weight, for names.
        was_transposed: Whether the groups lie along the second axis of the canonical weight, not the first.
    """
    rows, length = weight.shape
    size = qparams.group_size or length
    groups = length // size
    grid = (rows, groups) if was_transposed else (groups, rows)
    scale, zero_point = (
        (numbers.reshape(grid) if was_transposed else numbers.reshape(grid).T).reshape(rows, groups, 1)
        for numbers in (np.asarray(qparams.scale), np.asarray(qparams.zero_point))
    )
    along = dataclasses.replace(
        qparams,
        axis=None,
        group_axis=1,
        group_size=size,
        scale=tuple(scale.reshape(-1).tolist()),
        zero_point=tuple(zero_point.reshape(-1).tolist()),
    )
    codes = planned_codes(weight.astype(np.float64), along).reshape(rows, groups, size)
    kind = element_type(qparams)
    constant = ov.opset13.constant(codes.astype(np.int64), dtype=kind, name=f"{name}/codes")
    result = ov.opset13.convert(constant, ov.Type.f32, name=f"{name}/codes/Convert")
    if zero_point.any():
        points = ov.opset13.constant(zero_point.astype(np.int64), dtype=kind, name=f"{name}/zero_point")
        shift = ov.opset13.convert(points, ov.Type.f32, name=f"{name}/zero_point/Convert")
        result = ov.opset13.subtract(result, shift, name=f"{name}/codes/Subtract")
    factor = ov.opset13.constant(scale.astype(np.float32), name=f"{name}/scale")
    real = ov.opset13.multiply(result, factor, name=f"{name}/groups")
    shape = ov.opset13.constant(np.asarray([rows, length], np.int64), name=f"{name}/shape")
    flat = ov.opset13.reshape(real, shape, special_zero=False, name=f"{name}/dequantized")
    node.input(1).replace_source_output(flat.output(0))
    node.set_attribute("transpose_b", True)  # noqa: FBT003 - OpenVINO takes it so


def replace_table(node: Any, table: NDArray[np.generic], qparams: QParams, name: str) -> None:
    """Put codes in place of the table of a Gather, with one scale a row."""
    codes = planned_codes(table.astype(np.float64), qparams).astype(np.int8)
    constant = ov.opset13.constant(codes, name=f"{name}/codes")
    real = real_of(constant.output(0), qparams, name, aligned=(len(qparams.scale), 1))
    node.input(0).replace_source_output(real.output(0))


def store_in_float16(read: Any, name: str) -> None:
    """Store a constant in float16, for all its readers.

    The way back bears the mark of OpenVINO's own compression, for which that itself is asked: without it the constant would be made float32
    when the file is read.

    Args:
        read: An input that reads the constant.
        name: The weight, for names and messages.

    Raises:
        LoweringError: OpenVINO's reader computes the weight.
    """
    from openvino._offline_transformations import compress_model_transformation  # noqa: PLC0415, TID251 - as above, silent by now

    source = _constant_read(read, name, unless="Convert")
    if source is None:
        return
    readers = source.get_target_inputs()
    stored = ov.opset13.constant(source.get_node().data, name=f"{name}/float16")
    alone = ov.Model([ov.opset13.result(stored)], [], name)
    compress_model_transformation(alone)
    real = alone.get_results()[0].input_value(0)
    real.get_node().set_friendly_name(f"{name}/float16/Convert")
    real.set_names(set())  # that of a Result, with a counter of the process
    for reader in readers:
        reader.replace_source_output(real)


def store_in_codebook(read: Any, codebook: NDArray[np.float32], name: str) -> None:
    """Store a constant as indices into a codebook, for all its readers: in the form of OpenVINO's own codebooks, a Gather.

    Args:
        read: An input that reads the constant.
        codebook: At most 256 ascending numbers.
        name: The weight, for names and messages.

    Raises:
        LoweringError: OpenVINO's reader computes the weight.
    """
    source = _constant_read(read, name, unless="Gather")
    if source is None:
        return
    readers = source.get_target_inputs()
    kind = ov.Type.u4 if index_bits(len(codebook)) < 8 else ov.Type.u8
    indices = nearest(source.get_node().data, codebook)
    stored = ov.opset13.constant(indices, dtype=kind, name=f"{name}/indices")
    wide = ov.opset13.convert(stored, ov.Type.i32, name=f"{name}/indices/Convert")
    table = ov.opset13.constant(codebook, name=f"{name}/codebook")
    axis = ov.opset13.constant(np.int64(0), name=f"{name}/axis")
    real = ov.opset13.gather(table, wide, axis, name=f"{name}/Gather")
    for reader in readers:
        reader.replace_source_output(real.output(0))


def _constant_read(read: Any, name: str, *, unless: str) -> Any:
    """Return the output of the constant behind an input; None where another reader of the same weight was here, who left a node of a kind."""
    source = read.get_source_output()
    kind = source.get_node().get_type_name()
    if kind == unless:
        return None
    if kind != "Constant":
        raise LoweringError(f"Weight {name!r}: OpenVINO's reader made a {kind} of it; expected a constant.")
    return source


def codes_of(real: Any, qparams: QParams, name: str) -> Any:
    """Return a node whose output are the integers of an activation.

    Args:
        real: The activation's port.
        qparams: Its parameters; one scale.
        name: The activation, for names and messages.

    Raises:
        LoweringError: The parameters have an axis.
    """
    if qparams.axis is not None:
        raise LoweringError(
            f"Value {name!r}: an activation has one scale, the plan gives {len(qparams.scale)}."
        )
    scale, zero_point = qparams.scale[0], qparams.zero_point[0]
    bounds = {
        "real_low": (qparams.quant_min - zero_point) * scale,
        "real_high": (qparams.quant_max - zero_point) * scale,
        "code_low": qparams.quant_min,
        "code_high": qparams.quant_max,
    }
    constants = [
        ov.opset13.constant(np.float32(bound), name=f"{name}/codes/{label}")
        for label, bound in bounds.items()
    ]
    levels = qparams.quant_max - qparams.quant_min + 1
    rounded = ov.opset13.fake_quantize(real, *constants, levels, name=f"{name}/codes/FakeQuantize")
    return ov.opset13.convert(rounded, element_type(qparams), name=f"{name}/codes")


def real_of(codes: Any, qparams: QParams, name: str, *, aligned: tuple[int, ...] = ()) -> Any:
    """Return a node whose output is scale * (codes - zero_point).

    Args:
        codes: The port of the integers.
        qparams: Their parameters.
        name: The value, for names.
        aligned: Shape in which scales per channel broadcast against the codes.
    """
    shape = () if qparams.axis is None else aligned
    scale = np.asarray(qparams.scale, np.float64).astype(np.float32).reshape(shape)
    zero_point = np.asarray(qparams.zero_point, np.float32).reshape(shape)
    result = ov.opset13.convert(codes, ov.Type.f32, name=f"{name}/codes/Convert")
    if zero_point.any():
        shift = ov.opset13.constant(zero_point, name=f"{name}/zero_point")
        result = ov.opset13.subtract(result, shift, name=f"{name}/codes/Subtract")
    factor = ov.opset13.constant(scale, name=f"{name}/scale")
    return ov.opset13.multiply(result, factor, name=f"{name}/dequantized")


def element_type(qparams: QParams) -> Any:
    """Return OpenVINO's type of the codes."""
    if qparams.dtype in ("int4", "uint4"):
        return ov.Type.i4 if qparams.dtype == "int4" else ov.Type.u4
    return ov.Type(np.dtype(qparams.dtype))
