"""Sentences of this documentation, and their tokens for a text encoder of the BERT kind."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_DOCUMENTS = Path(__file__).parents[3] / "docs"
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,'-]{25,180}[.:]")
_UNKNOWN, _BEGIN, _END = "[UNK]", "[CLS]", "[SEP]"


@cache
def sentences() -> tuple[str, ...]:
    """Return every plain sentence of ``docs/*.md``, in order, each once."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(_DOCUMENTS.glob("*.md")))
    return tuple(dict.fromkeys(_SENTENCE.findall(text)))


def tokens(
    texts: list[str], vocabulary: Mapping[str, int], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token numbers and mask, each of shape (texts, 1, length), as an uncased WordPiece vocabulary has them.

    Args:
        texts: Sentences.
        vocabulary: Number of each piece; pieces inside a word begin with ``##``.
        length: Tokens a sentence; longer ones are cut, shorter ones filled with 0.

    Source:
        Wu et al., "Google's Neural Machine Translation System", 2016, section 4.1: the longest piece first.
    """
    numbers = np.zeros((len(texts), 1, length), np.int64)
    mask = np.zeros_like(numbers)
    for row, text in enumerate(texts):
        pieces = [piece for word in _words(text) for piece in _pieces(word, vocabulary)]
        whole = [_BEGIN, *pieces[: length - 2], _END]
        numbers[row, 0, : len(whole)] = [vocabulary[piece] for piece in whole]
        mask[row, 0, : len(whole)] = 1
    return numbers, mask


def _words(text: str) -> list[str]:
    plain = "".join(
        one for one in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(one)
    )
    return re.findall(r"\w+|[^\w\s]", plain)


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    found: list[str] = []
    rest, mark = word, ""
    while rest:
        fitting = (rest[:end] for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary)
        piece = next(fitting, None)
        if piece is None:
            return [_UNKNOWN]
        found.append(mark + piece)
        rest, mark = rest[len(piece) :], "##"
    return found
