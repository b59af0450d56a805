"""What cuts and borders: SLICE, STRIDED_SLICE, REVERSE_V2, SPLIT, SPLIT_V, PAD, PADV2 and MIRROR_PAD."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from host_tools.layouts import Layout
    from host_tools.model.from_tflite.call import Call

_SYMMETRIC: Final = 1
"""Code of MirrorPadMode. Source: tflite/schema/schema.fbs."""


def slice_(call: Call) -> None:
    """Write a SLICE; a size of -1 reaches to the end."""
    shape, begins, sizes = call.shape(0), call.integers(1), call.integers(2)
    if not len(begins) == len(sizes) == len(shape):
        raise ValueError(f"it takes {sizes} from {begins} on of {list(shape)}")
    ranges = []
    for extent, begin, size in zip(shape, begins, sizes, strict=True):
        end = extent if size == -1 else begin + size
        if not 0 <= begin < end <= extent:
            raise ValueError(f"it takes {sizes} from {begins} on of {list(shape)}")
        ranges.append(range(begin, end))
    call.write(_sliced(call, ranges), call.layout(0))


def strided_slice(call: Call) -> None:
    """Write a STRIDED_SLICE with its masks: open beginnings and ends, axes that go, axes that come, and the ellipsis."""
    ranges, shape = _ranges(call)
    for one, extent in zip(ranges, call.shape(0), strict=True):
        if not one or not 0 <= one[0] < extent:
            raise ValueError(f"it takes {one} of {extent} elements")
    if len(shape) == len(ranges) == len(call.shape(0)) and all(
        len(one) == extent for one, extent in zip(ranges, shape, strict=True)
    ):
        call.write(_sliced(call, ranges), call.layout(0))
        return
    data = call.read(0)
    call.write(call.reshaped(_cut(call, data, ranges), shape))


def _ranges(call: Call) -> tuple[list[range], list[int]]:
    """Return what is taken of each axis, and the shape of the result.

    Source: LiteRT, tflite/kernels/strided_slice.cc and internal/strided_slice_logic.h.
    """
    extents = call.shape(0)
    begins, ends, steps = (call.integers(place) for place in (1, 2, 3))
    if not len(begins) == len(ends) == len(steps) or 0 in steps:
        raise ValueError(f"beginnings {begins}, ends {ends}, strides {steps}")
    ranges: list[range] = []
    shape: list[int] = []
    for at, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if _is_on(call, "EllipsisMask", at):
            behind = sum(not _is_on(call, "NewAxisMask", place) for place in range(at + 1, len(begins)))
            for extent in extents[len(ranges) : len(extents) - behind]:
                shape.append(extent)
                ranges.append(range(extent))
        elif _is_on(call, "NewAxisMask", at):
            shape.append(1)
        elif len(ranges) == len(extents):
            raise ValueError(f"it slices {len(begins)} axes of {list(extents)}")
        else:
            ranges.append(_taken(call, at, (begin, end, step), extents[len(ranges)]))
            if not _is_on(call, "ShrinkAxisMask", at):
                shape.append(len(ranges[-1]))
    for extent in extents[len(ranges) :]:
        shape.append(extent)
        ranges.append(range(extent))
    return ranges, shape


def _taken(call: Call, at: int, given: tuple[int, int, int], extent: int) -> range:
    """Return what one place of the three lists takes of an axis."""
    begin, end, step = given
    if _is_on(call, "ShrinkAxisMask", at):
        place = begin + extent if begin < 0 else begin
        return range(place, place + 1)
    stop = begin + end if call.flag("Offset") else end
    first = None if _is_on(call, "BeginMask", at) else begin
    last = None if _is_on(call, "EndMask", at) else stop
    return range(*slice(first, last, step).indices(extent))


def _is_on(call: Call, mask: str, at: int) -> bool:
    return bool(int(call.setting(mask)) >> at & 1)


def _sliced(call: Call, ranges: Sequence[range]) -> str:
    layout = call.layout(0)
    return _cut(call, call.read(0, layout), [ranges[axis] for axis in layout])


def _cut(call: Call, data: str, ranges: Sequence[range]) -> str:
    """Return the elements of a value that are in ranges, one an axis."""
    places = [
        axis
        for axis, (one, extent) in enumerate(zip(ranges, call.shape_of(data), strict=True))
        if one != range(extent)
    ]
    if not places:
        return data
    starts, ends = [ranges[axis].start for axis in places], [ranges[axis].stop for axis in places]
    steps = [ranges[axis].step for axis in places]
    ends = [_BEFORE_ALL if end < 0 else end for end in ends]
    return call.node("Slice", data, *(call.numbers(one) for one in (starts, ends, places, steps)))


_BEFORE_ALL: Final = -(1 << 62)
"""An end that a negative step may have to take element 0, too."""


def reverse(call: Call) -> None:
    """Write a REVERSE_V2 along constant axes."""
    shape = call.shape(0)
    turned = set(call.axes(1, len(shape)))
    ranges = [
        range(extent - 1, -1, -1) if axis in turned and extent > 1 else range(extent)
        for axis, extent in enumerate(shape)
    ]
    call.write(_sliced(call, ranges), call.layout(0))


def split(call: Call) -> None:
    """Write a SPLIT into equal parts: the axis comes first."""
    layout = call.layout(1)
    axis = call.one_axis(0, len(layout))
    extent = call.shape(1)[axis]
    if not call.outputs or extent % call.outputs:
        raise ValueError(f"it splits {extent} elements into {call.outputs} parts")
    _split(call, call.read(1, layout), layout, axis, [extent // call.outputs] * call.outputs)


def split_v(call: Call) -> None:
    """Write a SPLIT_V into parts of given sizes, of which one may be open."""
    layout, sizes = call.layout(0), call.integers(1)
    axis = call.one_axis(2, len(layout))
    extent = call.shape(0)[axis]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = extent - sum(size for size in sizes if size >= 0)
    if len(sizes) != call.outputs or sum(sizes) != extent or min(sizes, default=-1) < 0:
        raise ValueError(f"it splits {extent} elements into {sizes}")
    _split(call, call.read(0, layout), layout, axis, sizes)


def _split(call: Call, data: str, layout: Layout, axis: int, sizes: Sequence[int]) -> None:
    place = layout.index(axis)
    if all(sizes):
        parts = call.nodes("Split", data, call.numbers(sizes), axis=place) if len(sizes) > 1 else [data]
        for index, part in enumerate(parts):
            call.write(part, layout, index)
        return
    end = 0  # arithmetic of shapes has parts of nothing (tf.signal.frame): whoever reads one knows its values by its shape
    for index, size in enumerate(sizes):
        begin, end = end, end + size
        if size:
            bounds = (call.numbers([number]) for number in (begin, end, place))
            call.write(call.node("Slice", data, *bounds), layout, index)


def pad(call: Call) -> None:
    """Write a PAD or PADV2."""
    fill = [call.read(2)] if call.kind == "PADV2" else []
    if fill and call.shape_of(fill[0]) != ():
        fill = [call.reshaped(fill[0], ())]
    amounts = call.numbers(_amounts(call))
    call.write(call.node("Pad", call.read(0, call.layout(0)), amounts, *fill), call.layout(0))


def mirror_pad(call: Call) -> None:
    """Write a MIRROR_PAD; one that repeats the border itself only by one element, which is ONNX's ``edge``."""
    amounts = _amounts(call)
    is_symmetric = int(call.setting("Mode")) == _SYMMETRIC
    if is_symmetric and max(amounts) > 1:
        raise call.unsupported(
            f"it mirrors up to {max(amounts)} elements with the border itself (SYMMETRIC); ONNX has no such Pad."
        )
    extents = 2 * [call.shape(0)[axis] for axis in call.layout(0)]
    if any(amount >= extent > 0 for amount, extent in zip(amounts, extents, strict=True) if not is_symmetric):
        raise ValueError(f"it mirrors {amounts} elements of {list(call.shape(0))}")
    mode = "edge" if is_symmetric else "reflect"
    data = call.read(0, call.layout(0))
    call.write(call.node("Pad", data, call.numbers(amounts), mode=mode), call.layout(0))


def _amounts(call: Call) -> list[int]:
    """Return ONNX's ``pads``, in the order that the data lie in."""
    layout, table = call.layout(0), call.integers(1)
    if len(table) != 2 * len(layout) or min(table, default=0) < 0:
        raise ValueError(f"paddings {table} of {list(call.shape(0))}")
    return [*(table[2 * axis] for axis in layout), *(table[2 * axis + 1] for axis in layout)]


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        "MIRROR_PAD": mirror_pad,
        "PAD": pad,
        "PADV2": pad,
        "REVERSE_V2": reverse,
        "SLICE": slice_,
        "SPLIT": split,
        "SPLIT_V": split_v,
        "STRIDED_SLICE": strided_slice,
    }
)
