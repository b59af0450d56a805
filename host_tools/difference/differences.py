"""`Differences`: everything that two artifacts or files have not in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that A has as ``a`` and B as ``b``; None where one has it not."""

    what: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorChange:
    """One operator that only one has, or that both have otherwise.

    Attributes:
        name: Its name.
        kind: What the format calls it; in B, where A lacks it.
        how: ``removed`` is in A alone, ``added`` in B alone.
        changes: What differs; empty unless changed.
    """

    name: str
    kind: str
    how: Literal["added", "removed", "changed"]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantChange:
    """A weight, bias or other constant whose values differ.

    Attributes:
        name: The tensor.
        operator: An operator that reads it.
        role: Its part.
        changed: Elements that differ; codes where both have the same scales, else real values. None where types or shapes differ.
        elements: Elements of A's.
        largest: Largest difference, in real units; None as for ``changed``.
        largest_steps: The same in steps of A's scale (of the channel), for integers; None for floats.
    """

    name: str
    operator: str
    role: Literal["weight", "bias", "constant"]
    changed: int | None
    elements: int
    largest: float | None
    largest_steps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChange:
    """A tensor whose type, scales or zero points differ.

    Attributes:
        name: The tensor.
        a_type: Its stored type in A.
        b_type: Its stored type in B.
        lowest_ratio: Least of B's scale over A's, over channels; None where one has none, or they have different numbers of channels.
        highest_ratio: Largest of these.
        a_zero_point: Zero points in A; one where all channels have the same, empty for floats.
        b_zero_point: Likewise in B.
    """

    name: str
    a_type: str
    b_type: str
    lowest_ratio: float | None
    highest_ratio: float | None
    a_zero_point: tuple[int, ...]
    b_zero_point: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDifference:
    """How far B's output is from A's, over all inputs that were run.

    Attributes:
        name: Of the output.
        sqnr_db: 10 log10 of A's power over that of the difference; None when there is no difference.
        same_class: Share of inputs with the same top class; None for what is no vector of classes.
        largest: Largest difference, in real units.
        largest_lsb: The same in steps of A's scale; None where A's output has none.
        nonfinite: Elements of B's that are NaN or infinite.
    """

    name: str
    sqnr_db: float | None
    same_class: float | None
    largest: float
    largest_lsb: float | None
    nonfinite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsRun:
    """Both files on their engines.

    Attributes:
        golden: How many of A's golden inputs were run.
        random: How many random ones within the range of the inputs.
        a_engine: What ran A.
        b_engine: What ran B.
        outputs: Each output.
    """

    golden: int
    random: int
    a_engine: str
    b_engine: str
    outputs: tuple[OutputDifference, ...]

    @property
    def differs(self) -> bool:
        """Whether any output does."""
        return any(one.largest > 0.0 or one.nonfinite for one in self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Everything that differs; of what is the same, nothing is told.

    Attributes:
        a: The first file.
        b: The second.
        identical: Whether the files are the same to the byte.
        manifest: Fields of the manifest (artifacts only).
        verification: What verification said, by field of ``report.json`` (artifacts only).
        sizes: Sizes of files and members, and bytes that are not the same although nothing else here says so.
        operators: Operators.
        precisions: How many operators compute in which precision: as the engine was seen to run them where both are artifacts, else as the
            types in the files make them.
        constants: Weights, biases and other constants.
        scales: Scales and zero points.
        scales_of: Whose scales: of tensors of the files, or of the plans where the formats differ.
        not_compared: What could not be, and why.
        outputs: Both on their engines; None when that was not asked for.
    """

    a: str
    b: str
    identical: bool
    manifest: tuple[Change, ...]
    verification: tuple[Change, ...]
    sizes: tuple[Change, ...]
    operators: tuple[OperatorChange, ...]
    precisions: tuple[Change, ...]
    constants: tuple[ConstantChange, ...]
    scales: tuple[ScaleChange, ...]
    scales_of: Literal["files", "plans"]
    not_compared: tuple[str, ...]
    outputs: OutputsRun | None

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        found = (
            self.manifest,
            self.verification,
            self.sizes,
            self.operators,
            self.precisions,
            self.constants,
            self.scales,
        )
        return not self.identical or any(found) or (self.outputs is not None and self.outputs.differs)
