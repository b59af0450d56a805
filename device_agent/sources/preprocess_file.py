"""``preprocess.toml``: how pictures, recordings or texts become a model's inputs, as the user wrote it."""

from __future__ import annotations

import reprlib
import sys
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ConfigError
from device_agent.contract.manifest import Preprocessing
from device_agent.contract.regular_file import read_regular_file
from device_agent.contract.sound import Sound
from device_agent.sources.known_keys import require_known_keys
from device_agent.sources.sound.declaration import parse_sound
from device_agent.sources.text_declaration import TextDeclaration, parse_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME: Final = "preprocess.toml"
WrittenPreparation = Preprocessing | Sound | TextDeclaration
"""`contract.preparation.Preparation` as the user wrote it: of texts no more than where their tokeniser lies."""

_TABLES: Final = ("preprocess", "sound", "text")
_MAX_FILE_BYTES: Final = 64 << 10
_MAX_EXTENT: Final = 16_384
_MEAN_LIMIT: Final = 1e6
_STD_RANGE: Final = (1e-6, 1e6)
_CHOICES: Final = {
    "resample": ("nearest", "bilinear", "bicubic"),
    "color": ("RGB", "BGR", "L"),
    "layout": ("NCHW", "NHWC"),
}
_KEYS: Final = ("resize", "resample", "color", "layout", "mean", "std")
_OPTIONAL_KEYS: Final = ("crop",)


def load_preparation(path: Path) -> WrittenPreparation:
    """Read a ``preprocess.toml``.

    Raises:
        ConfigError: It cannot be read or is wrong; the message names file and key.
    """
    try:
        data = read_regular_file(path, most_bytes=_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes; this is some other file.")
    return parse_preparation(data, origin=str(path))


def load_preprocessing(path: Path) -> Preprocessing:
    """Read a ``preprocess.toml`` of pictures.

    Raises:
        ConfigError: As `load_preparation`; or it declares something else.
    """
    found = load_preparation(path)
    if not isinstance(found, Preprocessing):
        raise ConfigError(f"{path}: expected a table [preprocess], for pictures.")
    return found


def parse_preparation(data: bytes, *, origin: str) -> WrittenPreparation:
    """Read the text of a ``preprocess.toml``.

    Raises:
        ConfigError: It is wrong; the message names ``origin`` and key.
    """
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a plain ValueError
        raise ConfigError(f"{origin}: not valid TOML: {error}.") from error
    require_known_keys(document, _TABLES, where=f"{origin}: ")
    if len(document) != 1:
        raise ConfigError(
            f"{origin}: expected one table, [preprocess] for pictures, [sound] for recordings or [text] for texts; "
            f"got {' and '.join(document) or 'none'}."
        )
    ((name, table),) = document.items()
    if not isinstance(table, dict):
        raise ConfigError(f"{origin}: expected a table [{name}].")
    if name == "sound":
        return parse_sound(table, origin=origin)
    return parse_text(table, origin=origin) if name == "text" else _pictures(table, origin)


def _pictures(table: Mapping[str, object], origin: str) -> Preprocessing:
    where = f"{origin}: preprocess."
    require_known_keys(table, (*_KEYS, *_OPTIONAL_KEYS), where=where)
    missing = [key for key in _KEYS if key not in table]
    if missing:
        raise ConfigError(f"{where}{missing[0]} is missing.")
    color = _choice(table, "color", where)
    channels = 1 if color == "L" else 3
    resize = _extents(table, "resize", where, (_MAX_EXTENT, _MAX_EXTENT))
    return Preprocessing(
        resize=resize,
        resample=_choice(table, "resample", where),  # type: ignore[arg-type]  # one of the literal's own values
        color=color,  # type: ignore[arg-type]  # as above
        layout=_choice(table, "layout", where),  # type: ignore[arg-type]  # as above
        mean=_numbers(table, "mean", channels, where, low=-_MEAN_LIMIT, high=_MEAN_LIMIT),
        std=_numbers(table, "std", channels, where, low=_STD_RANGE[0], high=_STD_RANGE[1]),
        crop=_extents(table, "crop", where, resize) if "crop" in table else None,
    )


def _choice(table: Mapping[str, object], key: str, where: str) -> str:
    choices = _CHOICES[key]
    value = table[key]
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{where}{key}: expected one of {', '.join(choices)}, got {reprlib.repr(value)}.")
    return value


def _extents(table: Mapping[str, object], key: str, where: str, most: tuple[int, int]) -> tuple[int, int]:
    value = table[key]
    if isinstance(value, list) and len(value) == 2:
        height, width = value
        if all(type(one) is int and 1 <= one <= limit for one, limit in zip(value, most, strict=True)):
            return height, width
    limits = f"{_MAX_EXTENT}" if most == (_MAX_EXTENT, _MAX_EXTENT) else f"{list(most)}, which resize is"
    raise ConfigError(
        f"{where}{key}: expected [height, width] from 1 to {limits}, got {reprlib.repr(value)}."
    )


def _numbers(
    table: Mapping[str, object], key: str, count: int, where: str, *, low: float, high: float
) -> tuple[float, ...]:
    value = table[key]
    if isinstance(value, list) and len(value) == count and all(_is_within(item, low, high) for item in value):
        return tuple(float(item) for item in value)
    wanted = f"{count} numbers from {low:g} to {high:g}, one a channel"
    raise ConfigError(f"{where}{key}: expected {wanted}, got {reprlib.repr(value)}.")


def _is_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
