"""How far outputs agree with the float model's as an application would see it, each a share from 0 to 1 (or a mean cosine)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared.

    Attributes:
        name: For people, in the table's cell.
        measure: From the float model's and the payload's outputs, sample by sample, to a share; NaN where the float model finds nothing.
    """

    name: str
    measure: Callable[[Sequence[Outputs], Sequence[Outputs]], float]


def same_class(exact: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Return the share of samples with the float model's top class."""
    return float(
        np.mean([_first(a).argmax() == _first(b).argmax() for a, b in zip(exact, found, strict=True)])
    )


def cosine(exact: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Return the mean cosine between the vectors of the first output."""
    pairs = [(_first(a).reshape(-1), _first(b).reshape(-1)) for a, b in zip(exact, found, strict=True)]
    return float(np.mean([a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]))


def same_text(exact: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Return the share of samples that read the same: best class of each step, repetitions joined, class 0 left out (CTC, greedy)."""
    return float(np.mean([_read(a) == _read(b) for a, b in zip(exact, found, strict=True)]))


def same_side(exact: Sequence[Outputs], found: Sequence[Outputs], limit: float = 0.5) -> float:
    """Return the share of samples whose first output is on the same side of a limit."""
    return float(
        np.mean(
            [
                (_first(a) > limit).all() == (_first(b) > limit).all()
                for a, b in zip(exact, found, strict=True)
            ]
        )
    )


def overlap(exact: Sequence[Outputs], found: Sequence[Outputs], limit: float = 0.3) -> float:
    """Return intersection over union of all elements above a limit, of all outputs and samples together."""
    both = either = 0
    for a, b in zip(exact, found, strict=True):
        for name in a:
            ours, theirs = (np.asarray(one[name], np.float64) > limit for one in (a, b))
            both += int((ours & theirs).sum())
            either += int((ours | theirs).sum())
    return both / either if either else float("nan")


def same_boxes(exact: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Return the F1 score of the payload's boxes against the float model's: same class, half of their union in common, scores above 0.2.

    The first output is (1, 4 + classes, boxes): centre, width and height, then scores, as YOLOv8 gives them.
    """
    hits = total = 0
    for a, b in zip(exact, found, strict=True):
        ours, theirs = _boxes(_first(a)[0]), _boxes(_first(b)[0])
        total += len(ours) + len(theirs)
        left = list(theirs)
        for kind, box in ours:
            match = next((one for one in left if one[0] == kind and _shared(box, one[1]) > 0.5), None)
            if match is not None:
                left.remove(match)
                hits += 2
    return hits / total if total else float("nan")


def _first(outputs: Outputs) -> NDArray[np.float64]:
    return np.asarray(next(iter(outputs.values())), np.float64)


def _read(outputs: Outputs) -> tuple[int, ...]:
    best = _first(outputs)[0].argmax(axis=-1)
    return tuple(int(one) for at, one in enumerate(best) if one and (at == 0 or best[at - 1] != one))


def _boxes(table: NDArray[np.float64]) -> list[tuple[int, tuple[float, ...]]]:
    """Return class and corners of each box that no better one of its class covers by more than 0.45 (non-maximum suppression)."""
    kinds, scores = table[4:].argmax(axis=0), table[4:].max(axis=0)
    kept: list[tuple[int, tuple[float, ...]]] = []
    for at in sorted(np.flatnonzero(scores > 0.2), key=lambda one: -scores[one]):
        x, y, width, height = table[:4, at]
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if all(kind != kinds[at] or _shared(box, other) <= 0.45 for kind, other in kept):
            kept.append((int(kinds[at]), box))
    return kept


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return width * height / (sum(areas) - width * height)
