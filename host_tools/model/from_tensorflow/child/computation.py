"""`Computation`: what is traced, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Computation:
    """A function with named inputs and outputs.

    Attributes:
        call: Takes tensors in the order of ``specs``, returns tensors by name.
        outputs: Names of what ``call`` returns, in the model's order.
        specs: ``tensorflow.TensorSpec`` of each input, with its name; None is an open extent.
        read_by: What read the file: version by name.
        owner: Holds the variables that ``call`` reads; without it they would be gone.
    """

    call: Callable[..., dict[str, Any]]
    outputs: tuple[str, ...]
    specs: tuple[Any, ...]
    read_by: Mapping[str, str]
    owner: object


def distinct(names: list[str]) -> list[str]:
    """Return names of which no two are equal, and none is empty."""
    found: list[str] = []
    for index, name in enumerate(names):
        base = name or f"tensor_{index}"
        candidate, count = base, 0
        while candidate in found:
            count += 1
            candidate = f"{base}_{count}"
        found.append(candidate)
    return found
