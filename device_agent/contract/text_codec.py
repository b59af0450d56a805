"""What a manifest declares about texts, and that it agrees with the rest of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.text import Text, TextSample

if TYPE_CHECKING:
    from device_agent.contract.fields import Fields
    from device_agent.contract.manifest import Manifest

MAX_TOKENS: Final = 8192
MAX_TEXT_BYTES: Final = 64 << 10
"""Of a text where nothing says less."""
MAX_SAMPLES: Final = 16
_MAX_NUMBER: Final = (1 << 32) - 1


def decode_text(fields: Fields) -> Text:
    """Read a declaration about texts.

    Raises:
        ContractError: It breaks a rule.
    """
    length = fields.integer("length", low=1, high=MAX_TOKENS)
    mask = fields.text("mask") if fields.has("mask") else None
    types = fields.text("types") if fields.has("types") else None
    text = Text(
        tokenizer=fields.text("tokenizer"),
        length=length,
        ids=fields.text("ids"),
        mask=mask,
        types=types,
        max_bytes=fields.integer("max_bytes", low=1, high=MAX_TEXT_BYTES)
        if fields.has("max_bytes")
        else None,
        samples=tuple(
            _sample(item, length, has_mask=mask is not None, has_types=types is not None)
            for item in fields.children("samples", least=1, most=MAX_SAMPLES)
        ),
        extra=fields.unknown(),
    )
    named = [name for name in (text.ids, mask, types) if name is not None]
    if len(set(named)) != len(named):
        fields.refuse("ids", "an input of the model for each of ids, mask and types", named)
    return text


def require_text_agreement(manifest: Manifest, text: Text, fields: Fields) -> None:
    """Check what the declaration alone does not show: texts give every input of the model, and their tokeniser is there.

    Args:
        manifest: The whole.
        text: Its ``text``.
        fields: Of the manifest.

    Raises:
        ContractError: It is not so.
    """
    if text.tokenizer not in {member.name for member in manifest.members}:
        fields.refuse("text.tokenizer", "the name of a member", text.tokenizer)
    sources = {tensor.source_name: tensor for tensor in manifest.inputs}
    if sources.keys() != text.inputs.keys():
        fields.refuse("text", f"each of the inputs {', '.join(sources)}", ", ".join(text.inputs))
    for name, tensor in sources.items():
        if sorted(tensor.shape) != [1, text.length]:
            fields.refuse(
                "text.length", f"what the input {name!r} has, which is {list(tensor.shape)}", text.length
            )


def _sample(fields: Fields, length: int, *, has_mask: bool, has_types: bool) -> TextSample:
    for key, wanted in (("mask", has_mask), ("types", has_types)):
        if fields.has(key) != wanted:
            fields.refuse(
                key, "numbers exactly where an input takes them", "numbers" if not wanted else "none"
            )
    return TextSample(
        text=fields.text("text"),
        ids=_numbers(fields, "ids", length, high=_MAX_NUMBER),
        mask=_numbers(fields, "mask", length, high=1) if has_mask else None,
        types=_numbers(fields, "types", length, high=_MAX_NUMBER) if has_types else None,
        extra=fields.unknown(),
    )


def _numbers(fields: Fields, key: str, length: int, *, high: int) -> tuple[int, ...]:
    return fields.integers(key, least=length, most=length, low=0, high=high)
