"""`open_data`: which kind of storage the user's text means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from device_agent.sources.prepare_frame import PICTURE_SUFFIXES, SOUND_SUFFIXES, TEXT_SUFFIXES
from host_tools.errors import DataError
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.sources.array_files import NpyFile, NpyFolder, NpzFile
from host_tools.observe.sources.function import FunctionSource
from host_tools.observe.sources.image_folder import ImageFolder
from host_tools.observe.sources.sound_folder import SoundFolder
from host_tools.observe.sources.texts import TextFolder, TextLines
from host_tools.observe.text_input import TextInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.float_model import TensorSpec
    from host_tools.observe.calibration_set import SampleSource
    from host_tools.observe.preparation import OpenPreparation

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_KINDS = (
    "Give a folder of pictures, of recordings (.wav) or of .txt, a .txt with a text a line, an .npy, an .npz, a folder of .npy, "
    "or module:function."
)


def open_data(
    spec: str | Path,
    *,
    inputs: tuple[TensorSpec, ...],
    preparation: OpenPreparation | None = None,
    limit: int | None = None,
    only_pictures: bool = False,
) -> CalibrationSet:
    """Open samples without reading them.

    Args:
        spec: A folder of pictures, of recordings or of ``.txt`` (also in folders within), a ``.txt`` with a text a line, an ``.npy`` (samples
            along the first axis, or one sample of the input's shape), an ``.npz`` (keys are input names), a folder of ``.npy`` (one sample a
            file), or ``module:function`` (returns something with a length that yields arrays or mappings).
        inputs: The model's inputs.
        preparation: How pictures, recordings or texts become the inputs; needed for them, and for a folder of ``.npy`` that hold pixels.
        limit: Use only the first samples.
        only_pictures: Whether nothing but pictures will do, since the model takes their pixels.

    Raises:
        DataError: There is nothing there, or it is empty, of an unknown kind, or cannot fit the inputs.
    """
    source = _source(spec, inputs, preparation)
    if only_pictures and not isinstance(source, ImageFolder):
        raise DataError(
            f"{spec}: expected a folder of pictures for --fold-preprocessing: arrays are inputs of the model as it was, normalised already.",
            hint="Give the pictures, or leave --fold-preprocessing out.",
        )
    return CalibrationSet(source, inputs, limit=limit)


def _source(
    spec: str | Path, inputs: tuple[TensorSpec, ...], preparation: OpenPreparation | None
) -> SampleSource:
    path = Path(spec)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise DataError(f"{spec} cannot be read: {error.strerror or error}.", hint=_KINDS) from error
    if is_folder:
        return _folder(path, inputs, preparation)
    if is_file:
        suffix = path.suffix.lower()
        if suffix == ".npy":
            return NpyFile(path, _only_input(path, inputs))
        if suffix == ".npz":
            return NpzFile(path, inputs)
        if suffix in TEXT_SUFFIXES:
            return TextLines(path, inputs, _text_input(path, preparation))
        raise DataError(
            f"{path}: data of the kind {suffix or 'without a suffix'!r} is not known.", hint=_KINDS
        )
    if isinstance(spec, str) and _FUNCTION.match(spec):
        return FunctionSource(spec, inputs)
    raise DataError(f"{spec}: no such file or folder.", hint=_KINDS)


def _folder(
    folder: Path, inputs: tuple[TensorSpec, ...], preparation: OpenPreparation | None
) -> SampleSource:
    try:
        files = [
            path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)
        ]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    pictures = [path for path in files if path.suffix.lower() in PICTURE_SUFFIXES]
    recordings = [path for path in files if path.suffix.lower() in SOUND_SUFFIXES]
    _require_one_kind(folder, {"pictures": pictures, "recordings": recordings, ".npy files": arrays})
    if arrays:
        pixels = preparation if isinstance(preparation, Preprocessing) else None
        return NpyFolder(folder, arrays, _only_input(folder, inputs), pixels)
    if pictures:
        if not isinstance(preparation, Preprocessing):
            raise _undeclared(folder, "pictures", "preprocess", is_other=preparation is not None)
        return ImageFolder(folder, pictures, _only_input(folder, inputs), preparation)
    if recordings:
        if not isinstance(preparation, Sound):
            raise _undeclared(folder, "recordings", "sound", is_other=preparation is not None)
        return SoundFolder(folder, recordings, _only_input(folder, inputs), preparation)
    texts = [path for path in files if path.suffix.lower() in TEXT_SUFFIXES]
    if texts:  # which may be notes beside other data
        return TextFolder(folder, texts, inputs, _text_input(folder, preparation))
    raise DataError(
        f"{folder}: no picture, no .wav, no .txt and no .npy file among its {len(files)} files.", hint=_KINDS
    )


def _require_one_kind(folder: Path, kinds: Mapping[str, list[Path]]) -> None:
    there = [f"{kind} ({len(paths)})" for kind, paths in kinds.items() if paths]
    if len(there) > 1:
        raise DataError(f"{folder} holds both {' and '.join(there)}.", hint="Separate them.")


def _undeclared(folder: Path, what: str, table: str, *, is_other: bool) -> DataError:
    if is_other:
        return DataError(
            f"{folder} holds {what}, but its preprocess.toml has no table [{table}].",
            hint="Write one in the place of the other, or give --preprocess FILE.",
        )
    return DataError(
        f"{folder} holds {what}, but nothing says how they become the model's input.",
        hint="Put a preprocess.toml in the folder or beside it, or give --preprocess FILE.",
    )


def _text_input(where: Path, preparation: OpenPreparation | None) -> TextInput:
    if not isinstance(preparation, TextInput):
        raise _undeclared(where, "texts", "text", is_other=preparation is not None)
    return preparation


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _only_input(where: Path, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(
            f"{where}: the model has {len(inputs)} inputs ({names}), this kind of data feeds one.",
            hint="Use an .npz with one key an input, or module:function.",
        )
    return inputs[0]
