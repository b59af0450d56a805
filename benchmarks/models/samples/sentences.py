"""Sentences of this documentation, and their tokens for a text encoder of the BERT kind."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import BertWordPieceTokenizer

from device_agent.sources.text import TextReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_DOCUMENTS = Path(__file__).parents[3] / "docs"
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,'-]{25,180}[.:]")
_INPUTS = {"input_ids": "ids", "attention_mask": "mask"}
_FILLING = "[PAD]"


@cache
def sentences() -> tuple[str, ...]:
    """Return every plain sentence of ``docs/*.md``, then of the decisions in ``docs/adr``, in order, each once."""
    paths = (*sorted(_DOCUMENTS.glob("*.md")), *sorted(_DOCUMENTS.glob("adr/*.md")))
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    return tuple(dict.fromkeys(_SENTENCE.findall(text)))


def tokens(
    texts: Sequence[str], vocabulary: Mapping[str, int], length: int
) -> dict[str, NDArray[np.generic]]:
    """Return ``input_ids`` and ``attention_mask``, each of shape (texts, 1, length), as an uncased BERT with this vocabulary takes them.

    Args:
        texts: Sentences.
        vocabulary: Number of each piece; pieces inside a word begin with ``##``.
        length: Tokens a sentence; longer ones are cut, shorter ones filled.
    """
    reader = TextReader(_uncased(vocabulary), length=length, inputs=_INPUTS, where="vocab.txt")
    samples = [reader.arrays(text) for text in texts]
    return {name: np.stack([sample[name] for sample in samples]) for name in _INPUTS}


def _uncased(vocabulary: Mapping[str, int]) -> bytes:
    """Return a ``tokenizer.json``, which the package of the model does not bring."""
    tokenizer = BertWordPieceTokenizer(vocab=dict(vocabulary), lowercase=True)
    tokenizer.enable_padding(pad_id=vocabulary[_FILLING], pad_token=_FILLING)
    return str(tokenizer.to_str()).encode()
