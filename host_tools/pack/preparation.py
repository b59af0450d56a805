"""What an artifact declares of its frames, and the members that this needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from device_agent.contract.text import Text
from host_tools.observe.text_input import TextInput
from host_tools.pack.sound_proof import with_proof
from host_tools.pack.text_member import with_tokenizer

if TYPE_CHECKING:
    from device_agent.contract.preparation import Preparation
    from host_tools.observe.preparation import OpenPreparation


def packed_preparation(preparation: OpenPreparation | None, members: dict[str, bytes]) -> Preparation | None:
    """Return what the manifest declares; what else a device needs for it goes into ``members``."""
    if isinstance(preparation, Sound):
        return with_proof(preparation, members)
    if isinstance(preparation, TextInput):
        return with_tokenizer(preparation, members)
    return preparation


def features_of(declared: Preparation | None) -> tuple[str, ...]:
    """Return what of a declaration an agent must know, by name: one that does not would prepare frames otherwise, or none."""
    if isinstance(declared, Preprocessing):
        return ("crop",) if declared.crop is not None else ()
    if isinstance(declared, Sound):
        return ("sound",)
    return ("text",) if isinstance(declared, Text) else ()
