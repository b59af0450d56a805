"""Who is in a rollout: a group whose devices come and go, as people or its selector say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host_tools.fleet.records.devices import Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Who is in a rollout.

    Attributes:
        selector: Of its group; None: people put devices into it.
        now: Enrolled devices that are in the group now.
        came: Of those with a job in it, which got it after their stage had begun: new devices, and those that came from another group.
        left: Devices with a job in it that are in another group now, or take no part any more.
        pinned: Of those that are in the group now, which have a desired state of their own, so that the rollout leaves them out.
    """

    selector: Selector | None = None
    now: int = 0
    came: int = 0
    left: int = 0
    pinned: int = 0

    def text(self, group: str) -> str:
        """Return it as one line; empty where there is nothing to tell."""
        if self.selector is None and not self.came and not self.left and not self.pinned:
            return ""
        takes = (
            "people put devices into it"
            if self.selector is None
            else f"it takes devices with {in_words(self.selector)}"
        )
        return (
            f"group {group}: {takes}; {self.now} now, {self.came} came after their stage had begun and got the release at once, "
            f"{self.left} left and follow another group{_left_out(self.pinned)}."
        )


def _left_out(pinned: int) -> str:
    if pinned == 1:
        return ", 1 has a desired state of its own and is left out"
    return f", {pinned} have desired states of their own and are left out" if pinned else ""


def in_words(selector: Selector) -> str:
    """Return what a selector asks for, e.g. ``tag outdoor, target cortex-a-tflite or x86_64-tflite``."""
    parts = [f"tag {tag}" for tag in sorted(selector.tags)]
    parts += [
        f"{what} {' or '.join(sorted(names))}"
        for what, names in (
            ("home group", selector.groups),
            ("target", selector.targets),
            ("engine", selector.engines),
            ("agent version", selector.agent_versions),
        )
        if names
    ]
    if selector.least_memory_bytes is not None:
        parts.append(f"memory of at least {selector.least_memory_bytes / 2**20:g} MiB")
    return ", ".join(parts)
