"""The table ``[text]`` of a ``preprocess.toml``: how texts become a model's inputs, before its tokeniser is opened."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ConfigError
from device_agent.contract.text_codec import MAX_TEXT_BYTES, MAX_TOKENS
from device_agent.sources.known_keys import require_known_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_NAME: Final = 1024
_KEYS: Final = ("tokenizer", "length", "ids")
_OPTIONAL_KEYS: Final = ("mask", "types", "max_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDeclaration:
    """What the table says.

    Attributes:
        tokenizer: Path of the ``tokenizer.json``, from the folder of ``preprocess.toml``.
        length: Tokens of every input.
        ids: The model's input that takes the numbers of the tokens.
        mask: The one that takes 1 for what counts and 0 for what fills; None: the model has none.
        types: The one that takes the tokens' types; None: the model has none.
        max_bytes: A text of more is refused; None: the most that any may have.
    """

    tokenizer: str
    length: int
    ids: str
    mask: str | None
    types: str | None
    max_bytes: int | None

    @property
    def inputs(self) -> Mapping[str, str]:
        """What each input takes, ``ids``, ``mask`` or ``types``, by its name."""
        named = {"ids": self.ids, "mask": self.mask, "types": self.types}
        return {name: part for part, name in named.items() if name is not None}


def parse_text(table: Mapping[str, object], *, origin: str) -> TextDeclaration:
    """Read the table.

    Args:
        table: What stands in it.
        origin: File it came from, for messages.

    Raises:
        ConfigError: It is wrong; the message names ``origin`` and key.
    """
    where = f"{origin}: text."
    require_known_keys(table, (*_KEYS, *_OPTIONAL_KEYS), where=where)
    missing = [key for key in _KEYS if key not in table]
    if missing:
        raise ConfigError(f"{where}{missing[0]} is missing.")
    declared = TextDeclaration(
        tokenizer=_text(table, "tokenizer", where),
        length=_count(table, "length", where, what="tokens", most=MAX_TOKENS),
        ids=_text(table, "ids", where),
        mask=_text(table, "mask", where) if "mask" in table else None,
        types=_text(table, "types", where) if "types" in table else None,
        max_bytes=_count(table, "max_bytes", where, what="bytes", most=MAX_TEXT_BYTES)
        if "max_bytes" in table
        else None,
    )
    named = [name for name in (declared.ids, declared.mask, declared.types) if name is not None]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}ids, mask and types: expected an input for each, got {twice!r} twice.")
    return declared


def _count(table: Mapping[str, object], key: str, where: str, *, what: str, most: int) -> int:
    value = table[key]
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigError(f"{where}{key}: expected {what} from 1 to {most}, got {reprlib.repr(value)}.")
    return value


def _text(table: Mapping[str, object], key: str, where: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or "\0" in value:
        raise ConfigError(
            f"{where}{key}: expected a text of 1 to {_MAX_NAME} characters, got {reprlib.repr(value)}."
        )
    return value
