"""`read`: a file of any format that we know becomes facts; whatever is wrong with it is a `FileError`."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.archive import ArtifactArchive
from host_tools.errors import InputError
from host_tools.lint.onnx import read_onnx
from host_tools.lint.openvino import read_openvino
from host_tools.lint.tflite import read_tflite
from host_tools.plan.codebooks import clustered
from host_tools.plan.plan_file import decode as decode_plan
from host_tools.tflite_file import is_tflite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.lint.facts import LintedFile
    from targets.profile import PlanPrecision

_ARTIFACT: Final = ".ewa"
_PLAN: Final = "plan.json"
_MOST_BYTES: Final = 4 << 30
_MARKED_BYTES: Final = 8
_ONNX_START: Final = b"\x08"  # the version of the format, which every writer puts first


class FileError(InputError):
    """The file cannot be read, or is not a sound file of its format."""

    code = "file"


def read(path: Path) -> LintedFile:
    """Return what a file says of its operators and tensors.

    Args:
        path: ``.ewa``, ``.tflite``, ``.onnx``, or ``.xml`` with its ``.bin`` beside it; of another name what begins like TFLite or ONNX.

    Raises:
        FileError: It cannot be read, is of a kind that we do not know, or is not sound.
        ContractError: It is no ``.ewa`` archive, or its manifest breaks a rule.
        TrustError: A member of the artifact is not what its manifest says.
        PlanFileError: The artifact's plan is damaged.
    """
    kind = _kind_of(path)
    _require_file(path)
    if kind == _ARTIFACT:
        archive = ArtifactArchive.open(path)
        payload = {Path(name).name: data for name, data in archive.payload().items()}
        main = next(iter(payload))
        found = _read(payload, where=f"{path}: {main}", kind=Path(main).suffix.lower())
        names = {member.name for member in archive.manifest.members}
        precision = (
            decode_plan(archive.read(_PLAN), where=f"{path}: {_PLAN}").precision
            if _PLAN in names
            else found.precision
        )
        return replace(found, made_for=archive.manifest.target, precision=precision)
    files = {path.name: _bytes_of(path)}
    if kind == ".xml":
        weights = path.with_suffix(".bin")
        _require_file(weights, hint="OpenVINO keeps the constants of an .xml in a .bin of the same name.")
        files[weights.name] = _bytes_of(weights)
    return _read(files, where=str(path), kind=kind)


def _kind_of(path: Path) -> str:
    """Return the ending that a file has, or should have by its first bytes.

    Raises:
        FileError: Neither says what it is, or it cannot be read.
    """
    kind = path.suffix.lower()
    if kind in (_ARTIFACT, *_READERS):
        return kind
    if path.is_file():
        start = _start_of(path)
        if is_tflite(start):
            return ".tflite"
        if start.startswith(_ONNX_START):
            return ".onnx"
    raise FileError(
        f"{path}: expected a file called *{_ARTIFACT}, *{', *'.join(_READERS)}, got {path.suffix or 'no ending'!r}."
    )


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MARKED_BYTES)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}.") from error


def _read(files: Mapping[str, bytes], *, where: str, kind: str) -> LintedFile:
    reader = _READERS.get(kind)
    if reader is None:
        raise FileError(f"{where}: expected a payload called *{', *'.join(_READERS)}.")
    try:
        found = reader(*list(files.values())[: 2 if kind == ".xml" else 1])
    except (
        Exception
    ) as error:  # what readers of bytes raise on bytes that are not sound is theirs; what leaves here is ours
        cause = str(error).strip().splitlines()
        raise FileError(
            f"{where}: not a sound {kind} file: {cause[0][:200] if cause else type(error).__name__}.",
            hint="Copy it again, or write it anew with the tool that made it.",
        ) from error
    return replace(found, precision=_precision_told(found))


def _precision_told(file: LintedFile) -> PlanPrecision:
    """Tell from how weights are stored where nothing is stored as codes; else as it was told."""
    stored = [
        one for op in file.ops for one in (*op.data, op.weight, op.bias, *op.outputs) if one is not None
    ]
    if file.precision != "int8" or any(one.scale for one in stored):
        return file.precision
    if entries := max((one.codebook for one in stored), default=0):
        return clustered(entries)
    is_half = any(one.is_constant and one.dtype == "float16" for one in stored)
    return "weights-float16" if is_half else file.precision


def _require_file(path: Path, *, hint: str = "") -> None:
    """Refuse what is absent, no regular file (a pipe would be read for ever), or too large."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: {getattr(error, 'strerror', None) or error}.", hint=hint) from error
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: expected a file.", hint=hint)
    if status.st_size > _MOST_BYTES:
        raise FileError(f"{path}: expected at most {_MOST_BYTES} bytes, got {status.st_size}.")


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}.") from error


_READERS: Final[Mapping[str, Callable[..., LintedFile]]] = {
    ".tflite": read_tflite,
    ".onnx": read_onnx,
    ".xml": read_openvino,
}
