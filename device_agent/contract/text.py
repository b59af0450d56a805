"""`Text`: how a text becomes the float model's inputs, by a tokeniser that travels in the archive. Since manifest 1.4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.manifest import Extensible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSample(Extensible):
    """A text and the numbers that the host got of it; every reader must get the same.

    Attributes:
        text: At most 1,024 characters.
        ids: `Text.length` numbers of tokens.
        mask: As many: 1 where a token counts, 0 where nothing but filling is; None exactly where the model takes none.
        types: As many: which of two sentences a token is of; None exactly where the model takes none.
    """

    text: str
    ids: tuple[int, ...]
    mask: tuple[int, ...] | None = None
    types: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Extensible):
    """How a text becomes the float model's inputs.

    What fills and where is cut the tokeniser's own file says.

    Attributes:
        tokenizer: Member that holds the ``tokenizer.json`` of Hugging Face's ``tokenizers``.
        length: Tokens of every input: what is longer is cut, what is shorter is filled.
        ids: The float model's input that takes the numbers of the tokens.
        mask: The one that takes 1 for what counts and 0 for what fills; None: the model has none.
        types: The one that takes the tokens' types; None: the model has none.
        max_bytes: A text of more is refused; None: the most that any may have. Since 1.5.
        samples: Texts with their numbers.
    """

    tokenizer: str
    length: int
    ids: str
    mask: str | None = None
    types: str | None = None
    max_bytes: int | None = None
    samples: tuple[TextSample, ...]

    @property
    def inputs(self) -> Mapping[str, str]:
        """What each of the float model's inputs takes: ``ids``, ``mask`` or ``types``, by its name."""
        named = {"ids": self.ids, "mask": self.mask, "types": self.types}
        return {name: part for part, name in named.items() if name is not None}


def tokenizer_digest(manifest: Manifest) -> str | None:
    """Return the digest of the tokeniser that travels with a model; None where there is none."""
    if manifest.text is None:
        return None
    wanted = manifest.text.tokenizer
    return next((member.digest for member in manifest.members if member.name == wanted), None)
