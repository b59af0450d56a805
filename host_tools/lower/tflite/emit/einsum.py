"""Einsum of one or two operands: sums, transposes and one product of matrices."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools import layouts
from host_tools.lower.tflite.emit.dense import second_copy
from host_tools.lower.tflite.emit.formula import Formula
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    from host_tools.lower.tflite.session import Session

_ELLIPSIS = "..."
_HIDDEN = "\u0391\u0392\u0393\u0394\u0395\u0396\u0397\u0398"
"""Labels of the axes that an ellipsis stands for, none of which an equation may have."""
_MOST_OPERANDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """An operand in the file, and the label of each of its axes; all differ."""

    tensor: int
    labels: str


def einsum(session: Session, node: ir.Node) -> None:
    """Write an Einsum.

    Raises:
        LoweringError: It has more than two operands, takes a diagonal, or repeats a unit axis along another operand's.
    """
    operands, result = _labels(node)
    extents = _extents(node, operands)
    writer = _Writer(session=session, node=node, extents=extents)
    terms = [writer.read(index, labels) for index, labels in enumerate(operands)]
    for at, term in enumerate(terms):
        elsewhere = {*result, *(label for other in (*terms[:at], *terms[at + 1 :]) for label in other.labels)}
        terms[at] = writer.summed(term, "".join(label for label in term.labels if label in elsewhere))
    made = terms[0] if len(terms) == 1 else writer.product(terms[0], terms[1], result)
    made = writer.ordered(made, result)
    writer.formula.deliver(made.tensor, layouts.natural(len(result)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Writer:
    """Writes the steps of one Einsum; ``extents`` are those of its labels."""

    session: Session
    node: ir.Node
    extents: Mapping[str, int]

    @property
    def formula(self) -> Formula:
        """Arithmetic on behalf of the node."""
        return Formula(self.session, self.node)

    def read(self, index: int, labels: str) -> _Term:
        """Return an operand in the graph's own order."""
        return _Term(tensor=self.session.read(self.node, index, layouts.natural(len(labels))), labels=labels)

    def summed(self, term: _Term, kept: str) -> _Term:
        """Sum over all labels but those that are kept."""
        places = [place for place, label in enumerate(term.labels) if label not in kept]
        if not places:
            return term
        return _Term(tensor=self.formula.reduced("SUM", term.tensor, places, keep=False), labels=kept)

    def ordered(self, term: _Term, labels: str) -> _Term:
        """Bring the axes of a term into the order of labels."""
        permutation = tuple(term.labels.index(label) for label in labels)
        tensor = self.session.transpose(term.tensor, permutation, self.node, planned=True)
        return _Term(tensor=tensor, labels=labels)

    def product(self, first: _Term, second: _Term, result: str) -> _Term:
        """Multiply along the labels that both have, and sum over those of them that the result lacks."""
        shared = [label for label in first.labels if label in second.labels]
        batch = "".join(label for label in shared if label in result)
        inner = "".join(label for label in shared if label not in result)
        rows, columns = (
            "".join(label for label in one.labels if label not in shared) for one in (first, second)
        )
        operands = [
            self._matrix(first, (batch, rows, inner)),
            self._matrix(second, (batch, inner, columns)),
        ]
        if operands[0] == operands[1]:
            operands[1] = second_copy(self.session, self.node, operands[1])
        shape = [self._size(part) for part in (batch, rows, columns)]
        made = self.formula.one(
            "BATCH_MATMUL", *operands, shape=shape, options=Options(kind="BatchMatMulOptions")
        )
        labels = batch + rows + columns
        spread = self.session.reshape(made, [self.extents[label] for label in labels], self.node)
        return _Term(tensor=spread, labels=labels)

    def _matrix(self, term: _Term, order: tuple[str, ...]) -> int:
        """Return a term with one axis for each group of labels; of a constant, the constant so."""
        labels, shape = "".join(order), [self._size(part) for part in order]
        held = self.session.graph.tensors[term.tensor]
        if held.data is None or held.type != "FLOAT32":
            return self.session.reshape(self.ordered(term, labels).tensor, shape, self.node)
        values = np.frombuffer(held.data, "<f4").reshape(held.shape)
        ordered = values.transpose([term.labels.index(label) for label in labels])
        return self.session.graph.constant(held.name, ordered.reshape(shape))

    def _size(self, labels: str) -> int:
        return math.prod(self.extents[label] for label in labels)


def _labels(node: ir.Node) -> tuple[list[str], str]:
    """Return the labels of each operand and of the result, an ellipsis as labels of its own.

    Raises:
        LoweringError: More than two operands, or a label twice in one.
    """
    equation = "".join((node.attributes.get_string("equation", "") or "").split())
    left, arrow, right = equation.partition("->")
    operands = left.split(",")
    if len(operands) > _MOST_OPERANDS:
        raise refuse(node, f"{len(operands)} operands ({equation}); Einsums of one or two are written.")
    ranks = [len(shape_of(value)) for value in node.inputs if value is not None]
    hidden = [
        rank - len(labels.replace(_ELLIPSIS, "")) if _ELLIPSIS in labels else 0
        for rank, labels in zip(ranks, operands, strict=True)
    ]
    if max(hidden) > len(_HIDDEN):
        raise refuse(
            node, f"an ellipsis of {max(hidden)} axes ({equation}); at most {len(_HIDDEN)} are written."
        )
    every = _HIDDEN[: max(hidden)]
    operands = [
        labels.replace(_ELLIPSIS, every[len(every) - count :])
        for labels, count in zip(operands, hidden, strict=True)
    ]
    if not arrow:
        counts = Counter("".join(operands))
        right = _ELLIPSIS + "".join(sorted(one for one in counts if counts[one] == 1 and one not in every))
    result = right.replace(_ELLIPSIS, every)
    if any(len(set(labels)) != len(labels) for labels in operands):
        raise refuse(node, f"a label twice in one operand ({equation}); TFLite takes no diagonal.")
    return operands, result


def _extents(node: ir.Node, operands: Sequence[str]) -> dict[str, int]:
    """Return the extent of every label.

    Raises:
        LoweringError: One operand has a unit axis where the other has a longer one.
    """
    found: dict[str, int] = {}
    for value, labels in zip(node.inputs, operands, strict=True):
        for label, extent in zip(labels, shape_of(value) if value is not None else (), strict=True):
            if found.setdefault(label, extent) != extent:
                raise refuse(
                    node,
                    f"an axis of extent {found[label]} along one of {extent}; Einsums that repeat an axis are not written.",
                )
    return found
