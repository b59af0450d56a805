"""What is wrong with the new release, if anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """How the new release differs from the previous one.

    Attributes:
        slower: Latency: 0.4 is 40 % slower.
        hungrier: Power of inference, likewise.
        disagreeing: Share of outputs that have nothing in common with those before (cosine 0), on every device, beside those in which any two
            good releases differ: so much is missing of the mean cosine.
        crash_share: Share of the devices on which it crashes.
        crashes_per_hour: How often there.
    """

    slower: float = 0.0
    hungrier: float = 0.0
    disagreeing: float = 0.0
    crash_share: float = 0.0
    crashes_per_hour: float = 0.0


GOOD = Candidate()
