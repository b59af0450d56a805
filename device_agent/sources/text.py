"""A text to the float model's inputs, by the tokeniser that travels with the model. Host calibration and device share this file.

The tokeniser is a ``tokenizer.json``, which the library that defines it reads: Hugging Face's ``tokenizers`` (extra ``text``). It is given the
bytes, never a name that it would look up in the network.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.errors import DeviceError
from device_agent.contract.text_codec import MAX_TEXT_BYTES
from device_agent.sources.adapt import FrameError
from device_agent.sources.bounded_call import BoundedCall, TooSlowError
from device_agent.sources.frame_file import read_frame_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from tokenizers import Tokenizer


TEXT_SECONDS: Final = 10.0
"""So long a text may take to become numbers: a thousand times what one of the most bytes takes by a tokeniser that does not go astray."""
_PANIC: Final = "PanicException"
_SHOWN_CHARACTERS: Final = 40


class TokeniserError(DeviceError):
    """A tokeniser cannot be used: its library is absent, its file is none, or does not say what fills."""

    code = "tokeniser"


class TextReader:
    """Texts to the float model's inputs.

    Args:
        tokenizer: The bytes of a ``tokenizer.json``.
        length: Tokens of every input.
        inputs: What each input takes, ``ids``, ``mask`` or ``types``, by its name; see `contract.text.Text.inputs`.
        where: What to call the file in messages.
        max_bytes: A text of more is refused before it is read.
        seconds: One that takes longer is refused, and so is every other until the library is done with it.

    Raises:
        TokeniserError: ``tokenizers`` is absent, the file is no ``tokenizer.json``, names no padding token, gives other numbers every time, or
            leaves no room for a text within ``length``.

    Attributes:
        library_version: Of ``tokenizers``.
        max_bytes: As given.
    """

    def __init__(
        self,
        tokenizer: bytes,
        *,
        length: int,
        inputs: Mapping[str, str],
        where: str,
        max_bytes: int = MAX_TEXT_BYTES,
        seconds: float = TEXT_SECONDS,
    ) -> None:
        self.library_version = library_version()
        self.max_bytes = max_bytes
        self._bounded = BoundedCall(seconds, name="tokeniser")
        self._inputs = dict(inputs)
        self._tokenizer = _opened(tokenizer, where)
        _cut_and_fill(self._tokenizer, length, where)

    def numbers(self, text: str) -> dict[str, tuple[int, ...]]:
        """Return what each input takes of a text, as many numbers as the reader's length, by ``ids``, ``mask`` and ``types``.

        Raises:
            FrameError: The tokeniser has no numbers for it, or takes too long.
        """
        shown = repr(text[:_SHOWN_CHARACTERS])
        try:
            with _without_panic():
                # A batch of one: `encode` would hold the interpreter's lock, and with it the whole agent, for as long as it takes.
                (found,) = self._bounded(lambda: self._tokenizer.encode_batch([text]))
        except TooSlowError as error:
            raise FrameError(
                f"the tokeniser {error}, at the text {shown}.",
                hint="Does its tokenizer.json have a pattern that tries very many ways?",
            ) from error
        except Exception as error:
            raise FrameError(f"the tokeniser fails at the text {shown}: {error}.") from error
        parts = {"ids": found.ids, "mask": found.attention_mask, "types": found.type_ids}
        return {part: tuple(parts[part]) for part in self._inputs.values()}

    @property
    def largest(self) -> Mapping[str, int]:
        """The largest number that any text can get, by ``ids``, ``mask`` and ``types``.

        Special tokens need not be in the vocabulary: what is set around every text says what they are.
        """
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True).values()
        nothing, something = self.numbers(""), self.numbers("a")
        return {
            "ids": max(*vocabulary, *nothing["ids"]),
            "mask": 1,
            "types": max((*nothing.get("types", ()), *something.get("types", ())), default=0),
        }

    def token(self, number: int) -> str | None:
        """Return the token that has a number; None where the vocabulary has none."""
        found: str | None = self._tokenizer.id_to_token(number)
        return found

    def arrays(self, text: str) -> dict[str, NDArray[np.generic]]:
        """Return the inputs of a text, int64 of shape (1, length), by the float model's names.

        Raises:
            FrameError: The tokeniser has no numbers for it.
        """
        numbers = self.numbers(text)
        return {name: np.array([numbers[part]], np.int64) for name, part in self._inputs.items()}


def load_text(source: Path | bytes, reader: TextReader) -> dict[str, NDArray[np.generic]]:
    """Read one text: a file, or its bytes; return the inputs that it is, as `TextReader.arrays` does.

    Raises:
        FrameError: It cannot be read, is no text (`text_of`), or the tokeniser has no numbers for it.
    """
    if isinstance(source, Path):
        where, data = source.name, read_frame_file(source, what="a text", most_bytes=reader.max_bytes)
    else:
        where, data = "a frame", source
    return reader.arrays(text_of(data, where=where, most_bytes=reader.max_bytes))


def text_of(data: bytes, *, where: str, most_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a text: UTF-8, without the mark that may stand before it and the one line end that may stand behind it.

    Raises:
        FrameError: It is longer than ``most_bytes``, not UTF-8, or empty.
    """
    if len(data) > most_bytes:
        raise FrameError(f"{where}: expected a text of at most {most_bytes} bytes, got more.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FrameError(f"{where}: expected UTF-8, got {error.reason} at byte {error.start}.") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise FrameError(f"{where}: expected a text, got none.")
    return text


def require_plain_text(media_type: str) -> None:
    """Hold what a sender says of its body against what is read: a text in JSON or of a form would be read with its brackets and escapes.

    Raises:
        FrameError: It is something else than ``text/plain`` in UTF-8; a sender that says nothing is taken to send that.
    """
    kind, *parameters = (part.strip().lower() for part in media_type.split(";"))
    charset = next((part[8:].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if kind not in ("", "text/plain") or charset not in ("utf-8", "utf8", "us-ascii"):
        raise FrameError(
            f"expected a text as text/plain; charset=utf-8, got {media_type[:100]!r}.",
            hint="Send the text alone, with Content-Type: text/plain.",
        )


def library_version() -> str:
    """Return the version of ``tokenizers``.

    Raises:
        TokeniserError: It cannot be imported.
    """
    try:
        import tokenizers  # noqa: PLC0415  who reads no texts pays nothing for it
    except ImportError as error:
        raise TokeniserError(
            f"texts are read by the library tokenizers, which cannot be imported ({error}).",
            hint="pip install 'edgewright[text]'",
        ) from error
    return tokenizers.__version__


def _opened(data: bytes, where: str) -> Tokenizer:
    from tokenizers import Tokenizer, __version__  # noqa: PLC0415  as in `library_version`

    os.environ.setdefault(
        "TOKENIZERS_PARALLELISM", "false"
    )  # one text at a time: threads of its own would have nothing to do
    try:
        with _without_panic():
            found = Tokenizer.from_buffer(data)
    except Exception as error:
        raise TokeniserError(
            f"{where}: not a tokenizer.json that tokenizers {__version__} reads: {error}."
        ) from error
    if getattr(found.model, "dropout", None):
        raise TokeniserError(
            f"{where}: leaves out merges at random (model.dropout), so that a text has other numbers every time.",
            hint="Set it to null: it is for training.",
        )
    return found


def _cut_and_fill(tokenizer: Tokenizer, length: int, where: str) -> None:
    """Have it give ``length`` tokens, always. What fills and at which end the file says; where it says nothing of cutting, the end is cut."""
    padding, truncation = tokenizer.padding, tokenizer.truncation
    if padding is None or tokenizer.token_to_id(padding["pad_token"]) != padding["pad_id"]:
        said = (
            "does not say what fills"
            if padding is None
            else (
                f"fills with {padding['pad_token']!r} as {padding['pad_id']}, which its vocabulary has as "
                f"{tokenizer.token_to_id(padding['pad_token'])}"
            )
        )
        raise TokeniserError(
            f"{where}: {said}: no padding token, and texts shorter than {length} tokens are filled.",
            hint="Load it in Python, tokenizer.enable_padding(pad_id=…, pad_token=…), and save it again.",
        )
    added = tokenizer.num_special_tokens_to_add(is_pair=False)
    if length <= added:
        raise TokeniserError(
            f"{where}: of {length} tokens it sets {added} by itself, which leaves none for a text.",
            hint="Is text.length the length that the model has?",
        )
    tokenizer.enable_truncation(length, direction=(truncation or {}).get("direction", "right"))
    tokenizer.enable_padding(
        direction=padding["direction"],
        pad_id=padding["pad_id"],
        pad_type_id=padding["pad_type_id"],
        pad_token=padding["pad_token"],
        length=length,
    )


@contextmanager
def _without_panic() -> Iterator[None]:
    """Turn a panic of the library's Rust, which is no `Exception` and would end the worker's thread, into one."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise RuntimeError(f"its library panics: {error}") from error
