"""What of the outputs is measured by itself: unlike outputs in one sum would hide what becomes of the smaller ones.

Boxes in pixels have a thousand times the power of class scores. So every output has figures of its own, and of an output that a Concat writes
every operand, which is how detectors join the two; the worst decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import network_of, shape_of
from host_tools.verify.metrics import OutputComparison
from host_tools.verify.verification_report import OutputAgreement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel

    RealArrays = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joint:
    """How an output was joined: axis, inner ends of the parts, and the parts' names for people."""

    axis: int
    ends: tuple[int, ...]
    names: tuple[str, ...]


class OutputParts:
    """The outputs of a model, and the parts of those that a Concat writes."""

    def __init__(self, model: FloatModel) -> None:
        self._joints: dict[str, _Joint] = {}
        network = network_of(model.graph)
        for output in network.outputs:
            node = network.nodes.get(network.writers.get(output, ""))
            if node is None or node.op_type != "Concat":
                continue
            rank = len(shape_of(node.outputs[0]))
            axis = node.attributes["axis"].as_int() % rank
            ends = [int(end) for end in np.cumsum([shape_of(value)[axis] for value in node.inputs])]
            if len(ends) > 1:
                self._joints[output] = _Joint(
                    axis=axis,
                    ends=tuple(ends[:-1]),
                    names=tuple(
                        f"{output}[{', '.join([':'] * axis + [f'{start}:{end}'])}]"
                        for start, end in zip([0, *ends], ends, strict=False)
                    ),
                )

    def is_joined(self, outputs: Iterable[str]) -> bool:
        """Tell whether any of these outputs is cut into parts."""
        return any(output in self._joints for output in outputs)

    def cut(
        self, output: str, *arrays: NDArray[np.float64]
    ) -> Iterator[tuple[str, list[NDArray[np.float64]]]]:
        """Cut the same output of several runs.

        Args:
            output: Its name.
            arrays: One a run, in the model's shape.

        Yields:
            The name of a part, as NumPy would slice it, and the part of each run; the whole under the output's name where nothing was joined.
        """
        joint = self._joints.get(output)
        if joint is None:
            yield output, list(arrays)
            return
        pieces = [np.split(array, joint.ends, joint.axis) for array in arrays]
        for name, *part in zip(joint.names, *pieces, strict=True):
            yield name, part


class OutputsComparison:
    """Accumulates the difference between two runs' outputs, sample by sample, every part by itself."""

    def __init__(self, parts: OutputParts) -> None:
        self._parts = parts
        self._whole: dict[str, OutputComparison] = {}
        self._by_part: dict[str, OutputComparison] = {}

    def add(self, reference: RealArrays, found: RealArrays) -> None:
        """Take one sample.

        Args:
            reference: Outputs by name, finite.
            found: The other run's, at least those; each of as many elements.
        """
        for name, exact in reference.items():
            other = found[name].reshape(exact.shape)
            self._whole.setdefault(name, OutputComparison()).add(exact, other)
            for part, (left, right) in self._parts.cut(name, exact, other):
                self._by_part.setdefault(part, OutputComparison()).add(left, right)

    @property
    def sqnr_db(self) -> float | None:
        """The least of all parts that have a signal, of all where none has one, in decibels; None where nothing differs."""
        seen = self._by_part.values()
        ratios = [one.sqnr_db for one in seen if one.signal_power > 0.0] or [one.sqnr_db for one in seen]
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    @property
    def same_top_class(self) -> float | None:
        """The least share of samples with the same top class, of all outputs that are vectors of classes; None where none is."""
        shares = (one.same_top_class for one in self._whole.values())
        return min((share for share in shares if share is not None), default=None)

    @property
    def nonfinite_count(self) -> int:
        """Elements that were NaN or infinite."""
        return sum(one.nonfinite_count for one in self._whole.values())

    @property
    def absolute_max(self) -> float:
        """Largest absolute difference."""
        return max((one.absolute_max for one in self._whole.values()), default=0.0)

    @property
    def mean_absolute(self) -> float:
        """Mean absolute difference over all elements of all outputs."""
        count = sum(one.element_count for one in self._whole.values())
        return sum(one.absolute_sum for one in self._whole.values()) / count if count else 0.0

    def outputs(self) -> tuple[OutputAgreement, ...]:
        """Return the figures of every part, in the outputs' order."""
        return tuple(
            OutputAgreement(
                name=name,
                sqnr_db=one.sqnr_db,
                has_signal=one.signal_power > 0.0,
                max_absolute=one.absolute_max,
                mean_absolute=one.mean_absolute,
            )
            for name, one in self._by_part.items()
        )
