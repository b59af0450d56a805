"""Equalization: scale the channels of a network against one another, so that one scale serves them all, and compute the same.

Layout:
    equalization.py   equalize(): the story
    absorption.py     absorb(): channels that never come near 0 are moved down
    constants_moved.py    the edits of that
    takers.py         where that is exact: what adds before, what takes it up behind
    moved_statistics.py   what would be observed then
    splitting.py      split(): outlier channels become two
    edits.py          how a model's clone is changed
    channels.py       which channels may be scaled, and which go together
    link.py           two values whose channels share factors
    extents.py        what pooling, padding and resizing tie
    links.py          what each operator ties
    bounds.py         Clip, channel by channel
    weights.py        weights as matrices of outputs by inputs
    observed.py       what was observed of each channel
    tails.py          what a channel may reach on other data
    gains.py          which channels matter
    noise.py          the noise that quantizing will add, as a convex function of the factors
    factors.py        the factors that leave the least
    last_code.py      bounds of Clips that stay, on powers of two
    both_ends.py      Clips that stay and are done by saturation at both ends of the codes
    rewriting.py      the model with them
"""

from __future__ import annotations

from host_tools.equalize.equalization import Equalized, equalize

__all__ = ["Equalized", "equalize"]
