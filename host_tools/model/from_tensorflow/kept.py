"""Conversions by what they were made from: TensorFlow takes its ten seconds once a model, not once a command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.digest import digest_of, digest_of_file
from host_tools.cache_folder import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from host_tools.model.from_tensorflow.kinds import Kind

REVISION: Final = 2
"""Of the child's program: it counts up when the same model would become another graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A conversion in the cache.

    Attributes:
        onnx: The ONNX file.
        made_with: What read the model: versions by name.
    """

    onnx: Path
    made_with: Mapping[str, str]


def key_of(
    origin: str,
    *,
    kind: Kind,
    signature: str | None,
    shapes: Mapping[str, tuple[int, ...]],
    versions: Mapping[str, str],
) -> str:
    """Name a conversion by all that decides what it gives.

    Args:
        origin: Digest of the model.
        kind: What it is.
        signature: Which of its signatures.
        shapes: Shapes that are fixed, by input name.
        versions: Packages that convert it, by name.
    """
    told = [REVISION, origin, kind, signature, sorted(shapes.items()), sorted(versions.items())]
    return digest_of(json.dumps(told).encode()).removeprefix("sha256:")[:40]


def find(folder: Path, key: str) -> Kept | None:
    """Return what is kept under a key; a damaged file counts as absent."""
    onnx = folder / f"{key}.onnx"
    try:
        told = json.loads((folder / f"{key}.onnx.json").read_bytes())
        if digest_of_file(onnx) != told["digest"]:
            return None
        return Kept(onnx=onnx, made_with={str(name): str(one) for name, one in told["made_with"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(folder: Path, key: str, *, onnx: bytes, made_with: Mapping[str, str]) -> Kept:
    """Write a conversion under its key, whole or not at all.

    Raises:
        OutputError: The folder cannot be written.
    """
    path = folder / f"{key}.onnx"
    told = {"digest": digest_of(onnx), "made_with": dict(made_with)}
    write_whole(path, onnx)
    write_whole(folder / f"{key}.onnx.json", json.dumps(told, indent=1).encode())
    return Kept(onnx=path, made_with=made_with)
