"""What a frame is: a picture, a recording or a text. What an artifact declares of none of them is the model's inputs themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from device_agent.contract.text import Text, tokenizer_digest

if TYPE_CHECKING:
    from device_agent.contract.fields import Fields
    from device_agent.contract.manifest import Manifest

Preparation = Preprocessing | Sound | Text
"""How a frame becomes the float model's inputs."""

_KEYS: Final = ("preprocessing", "sound", "text")


def preparation_of(manifest: Manifest) -> Preparation | None:
    """Return the one that the manifest declares; None where frames are the model's inputs."""
    return manifest.preprocessing or manifest.sound or manifest.text


def require_one_preparation(manifest: Manifest, fields: Fields) -> None:
    """Check that a manifest declares one at most.

    Raises:
        ContractError: It declares several.
    """
    declared = [key for key in _KEYS if getattr(manifest, key) is not None]
    if len(declared) > 1:
        first, *others = declared
        fields.refuse(
            others[0],
            f"nothing beside {first}: a frame is a picture, a recording or a text",
            " and ".join(declared),
        )


def prepared_alike(one: Manifest, other: Manifest) -> bool:
    """Say whether two models get the same inputs of every frame; also true of two that declare nothing.

    Of texts the tokenisers decide: that both read a few texts to the same numbers shows nothing of others.
    """
    ours, theirs = preparation_of(one), preparation_of(other)
    if isinstance(ours, Text) and isinstance(theirs, Text):
        return dict(ours.inputs) == dict(theirs.inputs) and tokenizer_digest(one) == tokenizer_digest(other)
    return ours == theirs
