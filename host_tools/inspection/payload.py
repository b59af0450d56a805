"""A file that is quantized already, or of another format: what its facts say, and on request what a conversion would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.lint.reading import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from host_tools.inspection.relowering import Relowering
    from host_tools.lint.facts import LintedFile, LintedTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadTensorFacts:
    """An input or output of a file; scale and zero point are None where it has none."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadInspection:
    """What a file says of itself.

    Attributes:
        path: The file.
        format: Its format.
        schema: ONNX opset, TFLite schema version, or OpenVINO IR version.
        file_bytes: Size of the file; of an ``.xml`` together with its ``.bin``.
        inputs: As the application feeds them.
        outputs: As the application gets them.
        operators: How many operators of which kind compute in which precision: by kind, then precision.
        weight_bytes: Bytes of weights and biases as stored, by type.
        is_quantized: Whether any operator reads or writes codes, be it only a weight.
        relowering: How it is coded, and which targets can have its codes; None where its activations are float, or nobody asked.
    """

    path: str
    format: str
    schema: int
    file_bytes: int
    inputs: tuple[PayloadTensorFacts, ...]
    outputs: tuple[PayloadTensorFacts, ...]
    operators: Mapping[str, Mapping[str, int]]
    weight_bytes: Mapping[str, int]
    is_quantized: bool
    relowering: Relowering | None = None


def inspect_payload(path: Path, *, relowering: Relowering | None = None) -> PayloadInspection:
    """Read a ``.tflite``, an ``.onnx``, or an OpenVINO ``.xml`` with its ``.bin``; ``relowering`` is kept beside what it says.

    Raises:
        FileError: It cannot be read, or is not sound.
    """
    file = read(path)
    beside = path.with_suffix(".bin") if file.format == "openvino_ir" else None
    operators: dict[str, Counter[str]] = {}
    for op in file.ops:
        operators.setdefault(op.kind, Counter())[op.computed_in] += 1
    return PayloadInspection(
        path=str(path),
        format=file.format,
        schema=file.schema,
        file_bytes=path.stat().st_size + (beside.stat().st_size if beside is not None else 0),
        inputs=tuple(_facts(one) for one in file.inputs),
        outputs=tuple(_facts(one) for one in file.outputs),
        operators={kind: dict(counts) for kind, counts in operators.items()},
        weight_bytes=_weight_bytes(file),
        is_quantized=any(
            one is not None and one.is_integer and bool(one.scale)
            for op in file.ops
            for one in (*op.data, op.weight, *op.outputs)
        ),
        relowering=relowering,
    )


def _facts(tensor: LintedTensor) -> PayloadTensorFacts:
    return PayloadTensorFacts(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        scale=tensor.scale[0] if tensor.scale else None,
        zero_point=tensor.zero_point[0] if tensor.scale and tensor.zero_point else None,
    )


def _weight_bytes(file: LintedFile) -> dict[str, int]:
    constants = {
        tensor.name: tensor
        for op in file.ops
        for tensor in (op.weight, op.bias, *op.data)
        if tensor is not None and tensor.is_constant and tensor.codes is not None
    }
    sizes: Counter[str] = Counter()
    for tensor in constants.values():
        sizes[tensor.dtype] += 0 if tensor.codes is None else tensor.codes.nbytes
    return dict(sizes)
