"""What an HDF5 file may hold, asked before its weights are read: no other files, no more than its own bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py

from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_BYTES = 2 << 30
_DAMAGED = "The file is damaged or was cut short: copy or save it again."


def require_own_data(path: Path) -> None:
    """Refuse a file that would read others, or become far larger than a model may be.

    Raises:
        Refusal: Links and datasets in other files, more than 2 GiB of numbers, or no sound HDF5.
    """
    try:
        with h5py.File(path, "r") as file:
            total = 0
            for name, dataset in _datasets(file, ""):
                if dataset.external or dataset.is_virtual:
                    raise Refusal(
                        f"its dataset {name!r} lies in another file.",
                        hint="A model file is not to be trusted with other files: save it whole, in one.",
                    )
                total += dataset.size * dataset.dtype.itemsize if dataset.size else 0
                if total > _MOST_BYTES:
                    raise Refusal(
                        f"its datasets up to {name!r} claim {total:,} bytes; a model has at most {_MOST_BYTES:,} here.",
                        hint="Export a model of that size to ONNX with external data, and give that.",
                    )
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise Refusal(f"it is no sound HDF5 file ({cause(error)}).", hint=_DAMAGED) from error


def _datasets(group: h5py.Group, at: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Walk by links, so that none is followed: each object of a tree has one, a loop would need a second."""
    seen: set[object] = set()
    waiting = [(at, group)]
    while waiting:
        where, current = waiting.pop()
        for key in current:
            name = f"{where}/{key}"
            if not isinstance(current.get(key, getlink=True), h5py.HardLink):
                raise Refusal(
                    f"its entry {name!r} is a link to somewhere else.",
                    hint="A model file is not to be trusted with other files: save it whole, in one.",
                )
            found = current[key]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(found, h5py.Dataset):
                yield name, found
            elif isinstance(found, h5py.Group):
                waiting.append((name, found))


def attribute(path: Path, name: str) -> str | None:
    """Return a text attribute of the file itself; None where it has none.

    Raises:
        Refusal: It is no sound HDF5 file, or no text.
    """
    try:
        with h5py.File(path, "r") as file:
            value = file.attrs.get(name)
            return (
                value.decode("utf-8") if isinstance(value, bytes) else (None if value is None else str(value))
            )
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise Refusal(f"it is no sound HDF5 file ({cause(error)}).", hint=_DAMAGED) from error
