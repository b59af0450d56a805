"""The file a model comes from: its bytes, its external data, its digest. Reads only; the source is never written.

Not here: what the graph means. `loader` asks for a `Source` first and canonicalises what it holds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir

from device_agent.contract.digest import digest_of_file
from host_tools.errors import ModelError
from host_tools.model.from_tflite.importing import to_onnx
from host_tools.tflite_file import is_tflite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from host_tools.model.quantized import Quantization

_TFLITE_ENDING: Final = ".tflite"
_DENSE: Final = "Export the model with dense tensors: sparse ones are not read."
_NO_CONSTANTS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A parsed model file with all of its tensors in memory, and the digest of everything that was read.

    Attributes:
        path: The file.
        model: What it holds.
        digest: `FloatModel.digest`.
        notes: What reading it changed, one sentence each.
        quantization: What a quantized TFLite file says of its codes; of ONNX it is read from the graph later.
    """

    path: Path
    model: ir.Model
    digest: str
    notes: tuple[str, ...] = ()
    quantization: Quantization | None = None


def read_source(
    path: Path,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, tuple[float, ...]] = _NO_CONSTANTS,
) -> Source:
    """Read an ONNX file with its external data, or a TFLite file, which its mark or its name tells.

    Args:
        path: The file.
        shapes: Shapes fixed by the user; part of the digest.
        constants: Inputs fixed by the user; likewise.

    Raises:
        ModelError: No such file, a directory, neither ONNX nor TFLite, or external data absent, cut, or outside the model's folder.
        UnsupportedOperatorError: An operator of TFLite that is not translated.
    """
    content = _content(path)
    if is_tflite(content) or path.suffix.lower() == _TFLITE_ENDING:
        made = to_onnx(content, where=str(path), shapes=shapes)
        digest = _digest(path, (), shapes, constants)
        return Source(
            path=path,
            model=ir.from_proto(made.model),
            digest=digest,
            notes=made.notes,
            quantization=made.quantization,
        )
    proto = _parse(content, path)
    _refuse_sparse(proto.graph, path)
    model = ir.from_proto(proto)
    locations = _load_external_data(model, path)
    return Source(path=path, model=model, digest=_digest(path, locations, shapes, constants))


def with_origin(source: Source, origin: str) -> Source:
    """Return the source under the digest of the file that it was converted from.

    The ONNX file counts, too: another version of the converter makes other tensors, which statistics go by.
    """
    told = {"origin": origin, "onnx": source.digest}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return replace(source, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file.", hint="Give the path of a model.") from error
    except IsADirectoryError as error:
        raise ModelError(
            f"{path} is a directory, and no SavedModel: it holds no saved_model.pb.",
            hint="Give the model file inside it.",
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise ModelError(f"{path} is empty (0 bytes).", hint="Export the model again.")
    return content


def _parse(content: bytes, path: Path) -> onnx.ModelProto:
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:
        raise ModelError(
            f"{path} is not an ONNX model, or was cut short: {error}.", hint="Export or copy the model again."
        ) from error
    if not proto.ir_version or not proto.HasField("graph"):
        raise ModelError(f"{path} is not an ONNX model: it holds no graph.", hint="Export the model again.")
    return proto


def _refuse_sparse(graph: onnx.GraphProto, path: Path) -> None:
    for tensor in graph.sparse_initializer:
        raise ModelError(f"{path}: weight {tensor.values.name!r} is sparse.", hint=_DENSE)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                name = node.name or next(iter(node.output), "")
                raise ModelError(
                    f"{path}: {node.op_type} {name!r} holds a sparse tensor ({attribute.name}).", hint=_DENSE
                )
            for inner in (attribute.g, *attribute.graphs):
                _refuse_sparse(inner, path)


def _load_external_data(model: ir.Model, path: Path) -> tuple[str, ...]:
    """Replace every external tensor by one in memory; returns the locations, sorted."""
    folder = path.resolve().parent
    locations = set()
    for owner in _graph_and_subgraphs(model.graph):
        for value in list(owner.initializers.values()):
            if isinstance(value.const_value, ir.ExternalTensor):
                locations.add(str(value.const_value.location))
                value.const_value = _read_external(value.const_value, folder, path)
        for node in owner:
            _refuse_external_attributes(node, path)
    return tuple(sorted(locations))


def _graph_and_subgraphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    yield graph
    for subgraph in graph.subgraphs():
        if isinstance(subgraph, ir.Graph):
            yield subgraph


def _refuse_external_attributes(node: ir.Node, path: Path) -> None:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
            raise ModelError(
                f"{path}: node {node.name!r} ({node.op_type}) keeps attribute {attribute.name!r} in external data; "
                "only initializers may live outside the file.",
                hint="Save the model again with onnx.save_model(..., convert_attribute=False).",
            )


def _read_external(tensor: ir.ExternalTensor, folder: Path, path: Path) -> ir.TensorProtocol:
    file = folder / tensor.location
    if not file.resolve().is_relative_to(folder):
        raise ModelError(
            f"{path}: tensor {tensor.name!r} has its data at {str(tensor.location)!r}, outside the model's folder.",
            hint="Keep external data beside the model; it is refused elsewhere, because a model file is not to be trusted.",
        )
    if not file.is_file():
        raise ModelError(
            f"{path}: the external data file {str(tensor.location)!r} of tensor {tensor.name!r} is missing from {folder}.",
            hint="Copy it beside the .onnx file.",
        )
    offset, length = tensor.offset or 0, tensor.nbytes
    available = file.stat().st_size
    if offset < 0 or offset + length > available:
        raise ModelError(
            f"{path}: tensor {tensor.name!r} needs bytes {offset} to {offset + length} of {str(tensor.location)!r}, "
            f"which has {available}.",
            hint="The data file was cut short or is of another model: copy it again.",
        )
    located = ir.ExternalTensor(
        tensor.location,
        offset,
        length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        base_dir=folder,
    )
    return ir.Tensor(located.numpy().copy(), dtype=tensor.dtype, name=tensor.name)


def _digest(
    path: Path,
    locations: tuple[str, ...],
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, tuple[float, ...]],
) -> str:
    """The file's own digest when it is all there is; else the digest of a JSON list of the parts."""
    try:
        own = digest_of_file(path)
        if not locations and not shapes and not constants:
            return own
        parts: dict[str, object] = {
            "model": own,
            "external_data": {where: digest_of_file(path.resolve().parent / where) for where in locations},
            "shapes": {name: list(shape) for name, shape in sorted(shapes.items())},
        }
        if constants:
            parts["constants"] = {name: list(numbers) for name, numbers in sorted(constants.items())}
    except OSError as error:
        raise ModelError(f"{path} or its external data changed while it was read: {error}.") from error
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
