"""Whether a target's kernels compute on this machine what was planned: some saturate on processors that lack an instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.engines.processor import features, usable_processors
from targets import catalog

if TYPE_CHECKING:
    from targets.profile import CapabilityProfile

__all__ = ["features", "is_suited", "shortfall", "suited", "usable_processors"]


def is_suited(profile: CapabilityProfile, processor: frozenset[str] | None = None) -> bool:
    """Tell whether a target's kernels compute what was planned.

    Args:
        profile: The target.
        processor: What a processor can do; None: this machine's. One that does not say is taken to do.
    """
    needed, found = profile.engine.processor_features, features() if processor is None else processor
    return not needed or found is None or bool(needed & found)


def shortfall(profile: CapabilityProfile, processor: frozenset[str] | None = None) -> str | None:
    """Return what a reader of a machine's figures must know, as one sentence; None where there is nothing. See `is_suited`."""
    if is_suited(profile, processor):
        return None
    instead = (
        f"for processors like this one convert for {profile.engine.otherwise}"
        if profile.engine.otherwise
        else "verify it on a processor that has one"
    )
    return (
        f"this processor has none of {', '.join(sorted(profile.engine.processor_features))}, without which the engine's kernels add products "
        f"in 16 bits with saturation: what was measured here is not what other processors give; {instead}."
    )


def suited(target: str, processor: frozenset[str] | None = None) -> str:
    """Return the target's id, or that of the target for processors on which its kernels would saturate. See `is_suited`.

    Raises:
        UnknownTargetError: There is no such target.
    """
    profile = catalog.load(target)
    if is_suited(profile, processor) or not profile.engine.otherwise:
        return target
    return profile.engine.otherwise
