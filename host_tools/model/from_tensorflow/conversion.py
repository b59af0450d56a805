"""`to_onnx`: a model of TensorFlow or Keras becomes an ONNX file in the cache, which `host_tools.model.load` reads like any other."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of, digest_of_file
from host_tools.cache_folder import cache_folder
from host_tools.errors import ModelError
from host_tools.model.from_tensorflow.child_process import run_child
from host_tools.model.from_tensorflow.interpreter import interpreter, versions
from host_tools.model.from_tensorflow.kept import find, keep, key_of
from host_tools.model.from_tensorflow.kinds import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.from_tensorflow.kept import Kept
    from host_tools.model.from_tensorflow.kinds import Kind
    from host_tools.model.from_tensorflow.options import TensorFlowOptions
    from host_tools.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A model of TensorFlow as ONNX.

    Attributes:
        onnx: The ONNX file, in the cache.
        origin: Digest of the model as the user gave it, and of the signature that was chosen.
        note: What was done, for reports.
    """

    onnx: Path
    origin: str
    note: str


def to_onnx(
    path: Path,
    kind: Kind,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    options: TensorFlowOptions,
    progress: Progress,
) -> Converted:
    """Return a model as ONNX: from the cache if it is there, else converted in a process of its own and kept.

    Args:
        path: The model.
        kind: What it is, from `kind_of`.
        shapes: Shapes that the user fixed, by input name.
        options: What the user says about it.
        progress: Told what happens.

    Raises:
        InputError: TensorFlow or tf2onnx is not to be had, or the model has no such signature.
        ModelError: The model cannot be read; see `run_child`.
        OutputError: The cache cannot be written.
    """
    if options.signature is not None and kind != "saved_model":
        raise ModelError(
            f"{path}: --signature is about SavedModels, and this is {spoken(kind)}.", hint="Leave it out."
        )
    python = interpreter(options.python)
    packages = versions(python, needed_by=f"{path} is {spoken(kind)}: reading it")
    origin = _digest_of(path)
    folder = cache_folder(options.cache) / "onnx"
    key = key_of(origin, kind=kind, signature=options.signature, shapes=shapes, versions=packages)
    kept = find(folder, key)
    if kept is None:
        progress.stage(f"Converting {spoken(kind)} to ONNX", None)
        kept = _made(python, path, kind, shapes, options, folder, key)
    else:
        progress.stage(f"ONNX of {spoken(kind)} from the cache", 1)
        progress.step()
    if _digest_of(path) != origin:
        raise ModelError(f"{path} changed while it was read.", hint="Try again when nothing writes to it.")
    told = {"model": origin, "signature": options.signature}
    return Converted(
        onnx=kept.onnx,
        origin=digest_of(json.dumps(told, sort_keys=True).encode()),
        note=f"Read from {spoken(kind)} by {', '.join(f'{name} {one}' for name, one in kept.made_with.items())}.",
    )


def _made(
    python: str,
    path: Path,
    kind: Kind,
    shapes: Mapping[str, tuple[int, ...]],
    options: TensorFlowOptions,
    folder: Path,
    key: str,
) -> Kept:
    with tempfile.TemporaryDirectory(prefix="edgewright-") as work:
        onnx, made_with = run_child(
            python, path, kind, signature=options.signature, shapes=shapes, folder=Path(work)
        )
        return keep(folder, key, onnx=onnx.read_bytes(), made_with=made_with)


def _digest_of(path: Path) -> str:
    """Return the digest of a file, or of the names and contents of all files of a folder."""
    try:
        if path.is_file():
            return digest_of_file(path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        told = [(file.relative_to(path).as_posix(), digest_of_file(file)) for file in files]
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest_of(json.dumps(told).encode())
