"""`Session`: which ONNX value holds each tensor of the file, in which layouts.

A layout is the permutation with ``value = transpose(tensor, layout)``. An image lies channels first behind the operators that ONNX wants it so
for, and stays so until something asks for the file's own order: so a Transpose is written where the order really changes, and once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.layouts import between, moves_data, natural
from host_tools.model.from_tflite.constants import meaning_of, stands_for_reals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.layouts import Layout
    from host_tools.model.from_tflite.onnx_graph import OnnxGraph
    from host_tools.tflite_file import FileGraph

CHANNELS_FIRST: Final[Layout] = (0, 3, 1, 2)


class Session:
    """One import in progress.

    Attributes:
        file: The graph that is translated.
        onnx: What it becomes.
        constants_by_name: Which tensor each ONNX constant of weights holds the numbers of.
    """

    def __init__(self, file: FileGraph, onnx: OnnxGraph) -> None:
        self.file = file
        self.onnx = onnx
        self.constants_by_name: dict[str, int] = {}
        self._held: dict[int, dict[Layout, str]] = {}
        self._constants: dict[int, NDArray[np.generic]] = {}
        self._laid: dict[tuple[int, Layout], str] = {}

    # Constants

    def is_constant(self, index: int) -> bool:
        """Tell whether a tensor's values are known."""
        return index in self._constants or (
            index not in self._held and (self._stored(index) or 0 in self.file.tensors[index].shape)
        )

    def _stored(self, index: int) -> bool:
        return self.file.tensors[index].content is not None

    def constant(self, index: int) -> NDArray[np.generic]:
        """Return a constant's values, see `meaning_of`.

        Raises:
            ValueError: See `meaning_of`.
            ModelError: See `OnnxGraph.constant`.
        """
        if index not in self._constants:
            tensor = self.file.tensors[index]
            if tensor.content is None:
                return np.zeros(tensor.shape, np.int32)  # an empty one has no bytes
            values = meaning_of(tensor)
            self.onnx.take_room(values.nbytes)
            self._constants[index] = values
        return self._constants[index]

    def know(self, index: int, values: NDArray[np.generic]) -> None:
        """Keep the values of a tensor that was computed at once."""
        self._require_new(index)
        self._constants[index] = values

    def know_again(self, index: int, values: NDArray[np.generic]) -> None:
        """Keep what another session knows, too."""
        self._constants[index] = values

    def lay_out(self, values: NDArray[np.generic], index: int) -> str:
        """Add a constant that holds a tensor's numbers, in any order, and return its name."""
        tensor = self.file.tensors[index]
        coded = stands_for_reals(tensor)
        name = self.onnx.constant(values, tensor.name, is_shared=not coded)
        if coded:
            self.constants_by_name[name] = index
        return name

    # Values

    def values_of(self, index: int) -> tuple[str, ...]:
        """Return the values that hold a tensor, in any layout; none for constants."""
        return tuple(self._held.get(index, {}).values())

    def layout(self, index: int) -> Layout:
        """Return the layout that a tensor was written in; a constant's is the file's."""
        held = self._held.get(index)
        return next(iter(held)) if held else natural(len(self.shape(index)))

    def shape(self, index: int) -> tuple[int, ...]:
        """Return a tensor's shape in the file's order.

        Raises:
            ValueError: Nothing wrote it.
        """
        held = self._held.get(index)
        if held:
            layout, name = next(iter(held.items()))
            shape = self.onnx.shape(name)
            return tuple(shape[layout.index(axis)] for axis in range(len(layout)))
        if self.is_constant(index):
            return self.constant(index).shape
        raise ValueError(f"it reads {self.file.tensors[index].name!r}, which nothing writes before")

    def read(self, index: int, layout: Layout | None = None) -> str:
        """Return the value that holds a tensor in a layout, by a Transpose where there is none yet.

        Args:
            index: The tensor.
            layout: Wanted; the file's own when None.
        """
        wanted = natural(len(self.shape(index))) if layout is None else layout
        if index not in self._held:
            return self._laid_out(index, wanted)
        held = self._held[index]
        if wanted not in held:
            before, name = next(iter(held.items()))
            held[wanted] = self._moved(name, between(before, wanted), self.file.tensors[index].name)
        return held[wanted]

    def in_order(self, index: int) -> str:
        """Return a value whose elements are in the file's order, whatever its shape: for what reshapes it anyway."""
        rank = len(self.shape(index))
        if index in self._held and natural(rank) not in self._held[index]:
            layout, name = next(iter(self._held[index].items()))
            if not moves_data(self.onnx.shape(name), between(layout, natural(rank))):
                return name
        return self.read(index)

    def write(self, index: int, name: str, layout: Layout | None = None) -> None:
        """Say which value holds a tensor.

        Raises:
            ValueError: The tensor has a value already.
        """
        self._require_new(index)
        self._held[index] = {natural(len(self.onnx.shape(name))) if layout is None else layout: name}

    def _require_new(self, index: int) -> None:
        if index in self._held or index in self._constants or self._stored(index):
            raise ValueError(f"it writes {self.file.tensors[index].name!r}, which has a value already")

    def _laid_out(self, index: int, layout: Layout) -> str:
        if (index, layout) not in self._laid:
            values = self.constant(index)
            self._laid[index, layout] = self.lay_out(values.transpose(layout), index)
        return self._laid[index, layout]

    def _moved(self, name: str, permutation: Layout, hint: str) -> str:
        shape = self.onnx.shape(name)
        if moves_data(shape, permutation):
            return self.onnx.node("Transpose", [name], [hint], {"perm": permutation})[0]
        return self.onnx.reshape(name, [shape[axis] for axis in permutation], hint)
