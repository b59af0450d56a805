"""Profiles for the host: the catalogue's, with its errors among ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.errors import TargetError
from targets import catalog
from targets.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from targets.profile import CapabilityProfile


def load_profile(id_or_path: str) -> CapabilityProfile:
    """Load one profile by id or path.

    Raises:
        TargetError: Unknown id, unreadable file, or a wrong profile; the message names file and key.
    """
    try:
        return catalog.load(id_or_path)
    except ProfileError as error:
        raise TargetError(str(error.args[0]) if error.args else str(error), hint=error.hint) from error


def load_profiles(ids_or_paths: Sequence[str]) -> tuple[CapabilityProfile, ...]:
    """Load the profiles of one conversion, in order.

    Raises:
        TargetError: None was named, one twice, or see `load_profile`.
    """
    if not ids_or_paths:
        raise TargetError(
            "No target was named.", hint="Add --target ID; `edgewright targets list` shows them."
        )
    profiles = tuple(load_profile(one) for one in ids_or_paths)
    seen: set[str] = set()
    for profile in profiles:
        if profile.id in seen:
            raise TargetError(f"Target {profile.id!r} was named twice.", hint="Name each target once.")
        seen.add(profile.id)
    return profiles
