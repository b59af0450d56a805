"""What a manifest says of texts, and under which name the tokeniser travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.text import Text

if TYPE_CHECKING:
    from host_tools.observe.text_input import TextInput

TOKENIZER_MEMBER: Final = "text/tokenizer.json"


def described_text(text: TextInput) -> Text:
    """Return what the manifest says of texts."""
    declared = text.declared
    return Text(
        tokenizer=TOKENIZER_MEMBER,
        length=declared.length,
        ids=declared.ids,
        mask=declared.mask,
        types=declared.types,
        samples=text.samples,
    )
