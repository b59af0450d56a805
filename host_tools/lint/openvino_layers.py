"""The layers and constants of an OpenVINO IR as they stand in ``.xml`` and ``.bin``, without OpenVINO.

Source: https://docs.openvino.ai, OpenVINO IR format; IR version 11. Bodies of loops and branches are not looked into.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_MOST_LAYERS: Final = 200_000
_MOST_DEPTH: Final = 64
_LAYER: Final = ["net", "layers", "layer"]

DTYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "f32": "float32", "fp32": "float32", "f16": "float16", "fp16": "float16", "bf16": "bfloat16", "f64": "float64",
        "fp64": "float64", "i4": "int4", "u4": "uint4", "i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16",
        "i32": "int32", "u32": "uint32", "i64": "int64", "u64": "uint64", "boolean": "bool", "bool": "bool",
    }
)  # fmt: skip
"""Element types of layers (``f32``) and precisions of ports (``FP32``), in lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class Port:
    """An output of a layer.

    Attributes:
        layer: Whose.
        dtype: As `LintedTensor.dtype`.
        shape: Extents, -1 where open.
        readers: Layers that read it, with the place among their inputs.
    """

    layer: Layer
    dtype: str
    shape: tuple[int, ...]
    readers: list[tuple[Layer, int]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        name: Its name.
        kind: Its type, e.g. ``Convolution``.
        settings: Attributes of its ``data``.
        inputs: Ports that it reads; None for an input that no edge leads to.
        outputs: Ports that it writes.
    """

    name: str
    kind: str
    settings: dict[str, str] = field(default_factory=dict)
    inputs: list[Port | None] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A whole file: its IR version and its layers, in the file's order, which is one of execution."""

    version: int
    layers: tuple[Layer, ...]
    weights: bytes

    def constant(self, port: Port | None) -> NDArray[np.generic] | None:
        """Return the values that a port always has: a constant's, behind a Convert between floats or as a factor too; None for others.

        Raises:
            ValueError: The constant lies outside the ``.bin``, or its size is not its shape's.
        """
        if port is not None and port.layer.kind == "Multiply" and len(port.layer.inputs) == 2:
            first, second = (self._stored(one) for one in port.layer.inputs)
            return (
                None
                if first is None or second is None
                else np.asarray(first, np.float64) * np.asarray(second, np.float64)
            )
        if port is not None and port.layer.kind == "Convert" and port.layer.inputs:
            source = port.layer.inputs[0]
            if source is None or not source.dtype.startswith(("float", "bfloat")):
                return None
            port = source
        return self._stored(port)

    def _stored(self, port: Port | None) -> NDArray[np.generic] | None:
        if port is None or port.layer.kind != "Const" or port.dtype not in _STORED:
            return None
        settings = port.layer.settings
        begin, size = int(settings["offset"]), int(settings["size"])
        dtype = np.dtype(_STORED[port.dtype]).newbyteorder("<")
        if (
            begin < 0
            or size < 0
            or begin + size > len(self.weights)
            or size != math.prod(port.shape) * dtype.itemsize
        ):
            raise ValueError(
                f"constant {port.layer.name!r} of {size} bytes at {begin} is not in the .bin of {len(self.weights)}"
            )
        return np.frombuffer(self.weights, dtype, math.prod(port.shape), begin).reshape(port.shape)


def read_layers(xml: bytes, weights: bytes) -> Network:
    """Return the layers of a file, connected.

    Raises:
        ValueError: The XML is not sound, is not an OpenVINO network, or an edge leads nowhere.
    """
    document = _Document()
    parser = expat.ParserCreate()
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.text
    parser.StartDoctypeDeclHandler = document.doctype
    try:
        parser.Parse(xml, True)  # noqa: FBT003 - expat takes no keyword here
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from error
    if document.version is None or not document.layers:
        raise ValueError("expected an OpenVINO network with layers")
    for source, source_port, reader, reader_port in document.edges:
        port = document.ports.get((source, source_port))
        place = document.places.get((reader, reader_port))
        if port is None or place is None:
            raise ValueError(
                f"an edge leads from {source}:{source_port} to {reader}:{reader_port}, which are not both there"
            )
        layer, index = place
        layer.inputs[index] = port
        port.readers.append((layer, index))
    return Network(version=document.version, layers=tuple(document.layers.values()), weights=weights)


class _Document:
    """What expat meets, kept as layers, ports and edges."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.layers: dict[str, Layer] = {}
        self.ports: dict[tuple[str, str], Port] = {}
        self.places: dict[tuple[str, str], tuple[Layer, int]] = {}
        self.edges: list[tuple[str, str, str, str]] = []
        self._path: list[str] = []
        self._id = ""
        self._port: dict[str, str] = {}
        self._extents: list[int] = []
        self._text: list[str] = []

    def doctype(self, *_: object) -> None:
        raise ValueError("it has a document type, which an OpenVINO network never has")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        path = self._path
        if len(path) > _MOST_DEPTH or len(self.layers) > _MOST_LAYERS:
            raise ValueError("it is deeper or longer than any network")
        if path == ["net"]:
            self.version = int(attributes["version"])
        elif path == _LAYER:
            self._id = attributes["id"]
            self.layers[self._id] = Layer(attributes.get("name", ""), attributes.get("type", ""))
        elif path == [*_LAYER, "data"]:
            self.layers[self._id].settings.update(attributes)
        elif path[:3] == _LAYER and path[3:] in (["input", "port"], ["output", "port"]):
            self._port, self._extents = attributes, []
        elif path == ["net", "edges", "edge"]:
            names = ("from-layer", "from-port", "to-layer", "to-port")
            source, source_port, reader, reader_port = (attributes[name] for name in names)
            self.edges.append((source, source_port, reader, reader_port))
        self._text = []

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, tag: str) -> None:
        path = self._path
        if path[:3] == _LAYER and path[4:] == ["port", "dim"]:
            self._extents.append(int("".join(self._text)))
        elif path == [*_LAYER, "input", "port"]:
            layer = self.layers[self._id]
            self.places[self._id, self._port["id"]] = (layer, len(layer.inputs))
            layer.inputs.append(None)
        elif path == [*_LAYER, "output", "port"]:
            layer = self.layers[self._id]
            precision = self._port.get("precision", "").lower()
            port = Port(layer, DTYPES.get(precision, precision), tuple(self._extents))
            self.ports[self._id, self._port["id"]] = port
            layer.outputs.append(port)
        del tag
        path.pop()
        self._text = []


_STORED: Final[Mapping[str, type[np.generic]]] = MappingProxyType(
    {
        "float32": np.float32,
        "float16": np.float16,
        "float64": np.float64,
        "int8": np.int8,
        "uint8": np.uint8,
        "int16": np.int16,
        "uint16": np.uint16,
        "int32": np.int32,
        "int64": np.int64,
    }
)
