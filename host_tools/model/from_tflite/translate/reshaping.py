"""What leaves every element as it is: RESHAPE and its kin, TRANSPOSE, PACK, UNPACK, CONCATENATION, TILE, BROADCAST_TO, FILL, RANGE."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.layouts import natural
from host_tools.model.from_tflite.session import CHANNELS_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call


def reshape(call: Call) -> None:
    """Write a RESHAPE to a constant shape, of which one extent may be open."""
    wanted = call.integers(1) if call.has(1) else list(call.vector("NewShape"))
    size = math.prod(call.shape(0))
    given = math.prod(extent for extent in wanted if extent >= 0)
    if wanted.count(-1) == 1 and given and not size % given:
        wanted[wanted.index(-1)] = size // given
    if math.prod(wanted) != size or min(wanted, default=1) < 0:
        raise ValueError(f"{list(call.shape(0))} cannot be reshaped to {wanted}")
    call.write(call.reshaped(call.in_order(0), wanted))


def squeeze(call: Call) -> None:
    """Write a SQUEEZE: of all unit axes where none is named."""
    shape = call.shape(0)
    dropped = {call.axis(axis, len(shape)) for axis in call.vector("SqueezeDims")}
    dropped = dropped or {axis for axis, extent in enumerate(shape) if extent == 1}
    if any(shape[axis] != 1 for axis in dropped):
        raise ValueError(f"{list(shape)} has no unit axes {sorted(dropped)}")
    call.write(
        call.reshaped(call.in_order(0), [extent for axis, extent in enumerate(shape) if axis not in dropped])
    )


def expand_dims(call: Call) -> None:
    """Write an EXPAND_DIMS."""
    shape = list(call.shape(0))
    axis = call.one_axis(1, len(shape) + 1)
    shape.insert(axis, 1)
    call.write(call.reshaped(call.in_order(0), shape))


def transpose(call: Call) -> None:
    """Write a TRANSPOSE; nothing where the data already lie as it asks."""
    rank = len(call.shape(0))
    order = call.axes(1, rank)
    if sorted(order) != list(range(rank)):
        raise ValueError(f"{order} is no order of {rank} axes")
    held = call.layout(0)
    lies = tuple(order.index(axis) for axis in held)
    if lies in (natural(rank), CHANNELS_FIRST):
        call.write(call.read(0, held), lies)
        return
    perm = [held.index(axis) for axis in order]
    call.write(call.node("Transpose", call.read(0, held), perm=perm))


def concatenation(call: Call) -> None:
    """Write a CONCATENATION."""
    places = range(call.count)
    ranks = {len(call.shape(place)) for place in places}
    if len(ranks) != 1:
        raise ValueError(f"it joins tensors of {sorted(ranks)} axes")
    layout = call.common_layout(places)
    axis = call.axis(call.setting("Axis"), len(layout))
    parts = [call.read(place, layout) for place in places]
    found = parts[0] if len(parts) == 1 else call.node("Concat", *parts, axis=layout.index(axis))
    call.write_activated(found, layout)


def pack(call: Call) -> None:
    """Write a PACK: a new axis in every part, and a Concat."""
    shapes = {call.shape(place) for place in range(call.count)}
    if len(shapes) != 1:
        raise ValueError(f"it packs tensors of the shapes {sorted(map(list, shapes))[:4]}")
    shape = list(shapes.pop())
    axis = call.axis(call.setting("Axis"), len(shape) + 1)
    shape.insert(axis, 1)
    parts = [call.reshaped(call.in_order(place), shape) for place in range(call.count)]
    call.write(parts[0] if len(parts) == 1 else call.node("Concat", *parts, axis=axis))


def unpack(call: Call) -> None:
    """Write an UNPACK: a Split, and one axis less in every part."""
    shape = list(call.shape(0))
    axis = call.axis(call.setting("Axis"), len(shape))
    if shape.pop(axis) != call.outputs:
        raise ValueError(f"it unpacks {list(call.shape(0))} along axis {axis} into {call.outputs} parts")
    parts = [call.read(0)]
    if call.outputs > 1:
        parts = call.nodes("Split", call.read(0), call.numbers([1] * call.outputs), axis=axis)
    for index, part in enumerate(parts):
        call.write(call.reshaped(part, shape), index=index)


def tile(call: Call) -> None:
    """Write a TILE with constant repeats."""
    layout, repeats = call.layout(0), call.integers(1)
    if len(repeats) != len(layout) or min(repeats, default=1) < 1:
        raise ValueError(f"repeats {repeats} of {list(call.shape(0))}")
    ordered = call.numbers([repeats[axis] for axis in layout])
    call.write(call.node("Tile", call.read(0, layout), ordered), layout)


def broadcast_to(call: Call) -> None:
    """Write a BROADCAST_TO a constant shape."""
    shape = call.integers(1)
    if len(shape) < len(call.shape(0)):
        raise ValueError(f"{list(call.shape(0))} cannot become {shape}")
    layout = call.layout(0) if len(shape) == len(call.shape(0)) else natural(len(shape))
    data = call.operand(0, layout)
    call.write(call.node("Expand", data, call.numbers([shape[axis] for axis in layout])), layout)


def fill(call: Call) -> None:
    """Write a FILL of a constant shape."""
    call.write(call.node("Expand", call.read(1), call.numbers(call.integers(0))))


def range_(call: Call) -> None:
    """Write a RANGE between constants."""
    call.write(call.node("Range", *(call.constant(call.array(place).reshape(())) for place in (0, 1, 2))))


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        "BROADCAST_TO": broadcast_to,
        "CONCATENATION": concatenation,
        "EXPAND_DIMS": expand_dims,
        "FILL": fill,
        "PACK": pack,
        "RANGE": range_,
        "RESHAPE": reshape,
        "SQUEEZE": squeeze,
        "TILE": tile,
        "TRANSPOSE": transpose,
        "UNPACK": unpack,
    }
)
