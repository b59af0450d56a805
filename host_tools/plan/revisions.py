"""`Revisions`: what one attempt at a plan teaches the next.

A node may turn out not to fit only once scales are known (a rescale factor out of the target's reach). Then the attempt is given up and
made anew with what was learnt. Revisions only ever grow, so the attempts end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.plan.support import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What has been learnt so far.

    Attributes:
        rejected: Nodes that cannot run in integers after all, with the reason, by node name.
        detached: Values that keep parameters of their own although a same-scale operator reads them.
        unfused: Nodes that must not be absorbed by their producer.
        outputs_in_float: Outputs that leave the model in float, whatever the type of the target's interface.
        coded: Nodes that a quantized file computes in codes of its own.
    """

    rejected: Mapping[str, Finding] = field(default_factory=dict)
    detached: frozenset[str] = frozenset()
    unfused: frozenset[str] = frozenset()
    outputs_in_float: frozenset[str] = frozenset()
    coded: frozenset[str] = frozenset()

    def is_empty(self) -> bool:
        """Tell whether nothing was learnt."""
        return not (self.rejected or self.detached or self.unfused or self.outputs_in_float or self.coded)

    def joined(self, other: Revisions) -> Revisions:
        """Return both together; the earlier reason for a rejection stays."""
        return Revisions(
            rejected={**other.rejected, **self.rejected},
            detached=self.detached | other.detached,
            unfused=self.unfused | other.unfused,
            outputs_in_float=self.outputs_in_float | other.outputs_in_float,
            coded=self.coded | other.coded,
        )
