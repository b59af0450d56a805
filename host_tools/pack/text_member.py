"""What a manifest says of texts, and under which name the tokeniser travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.text import Text

if TYPE_CHECKING:
    from host_tools.observe.text_input import TextInput

_TOKENIZER: Final = "text/tokenizer.json"


def with_tokenizer(text: TextInput, members: dict[str, bytes]) -> Text:
    """Return what the manifest says of texts, whose tokeniser goes into ``members``."""
    declared = text.declared
    members[_TOKENIZER] = text.tokenizer
    return Text(
        tokenizer=_TOKENIZER,
        length=declared.length,
        ids=declared.ids,
        mask=declared.mask,
        types=declared.types,
        max_bytes=declared.max_bytes,
        samples=text.samples,
    )
