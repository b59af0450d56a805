"""`FloatModel`: the float network in the one canonical form that every later verb reads.

Canonical form, guaranteed by `host_tools.model.load` and relied on everywhere after it:

- an `onnx_ir` model, opset 18 to 21 of the default domain only, one graph, no functions, no control flow, topologically sorted;
- every node has a unique non-empty name; every value has a unique name, a static shape and a known type; floats are float32;
- no Identity, Dropout, Constant or shape-computing nodes are left: constants are initializers, shape subgraphs are folded;
- BatchNormalization is folded into the preceding Conv, ConvTranspose or Gemm where it can be; otherwise it is Mul then Add with constants;
- Gemm has transA=0, transB=1, alpha=beta=1, a constant weight of shape (outputs, inputs);
- MatMul of a rank-2 input by a rank-2 constant is a Gemm; no operand of a MatMul is a vector;
- Div by a constant is Mul by its reciprocal, unless that is zero or infinite in float32;
- Conv, ConvTranspose and Gemm with a constant weight have a bias of shape (outputs,), zeros where the source has none;
- Clip of floats has constant initializers for both bounds (missing ones are ±inf), with a computed one it is Max and Min; Clip(0, inf) is Relu;
- x * HardSigmoid(x; 1/6, 1/2) is HardSwish;
- attributes that an opset moved to inputs are constant initializers (Reshape shape, Slice, Pad, Squeeze, ReduceMean axes, Split sizes, ...);
- no node reads constants only;
- an initializer used as weight or bias of Conv, ConvTranspose, Gemm or MatMul has that one consumer (shared ones are copied);
- all initializer values are finite (but for bounds of Clip, Min and Max).

A file that is quantized already is the float model that its codes stand for, with what it says of its codes beside it (`quantization`); of
its layers nothing is folded, so that every weight is still what its codes mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.model.quantized import Quantization

ElementType = Literal["float32", "int8", "uint8", "int16", "int32", "int64", "bool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A model's input or output.

    Attributes:
        name: Its name.
        shape: Its shape, static.
        dtype: Its element type.
        rows: Of an input of integers that are looked up in a table: its rows, so that they go from ``-rows`` to ``rows - 1``; None elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    dtype: ElementType
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatModel:
    """A float network in canonical form (see the module's docstring); never changed after it is made.

    Attributes:
        name: Name for people and files, from the file's stem: letters, digits, ``_``, ``-`` and ``.``.
        digest: ``sha256:…`` over the source file's bytes, its external data, and the shapes and inputs fixed by the user.
        graph: The canonical `onnx_ir` model. Treat as read-only; `onnx_ir.Model.clone()` before editing.
        inputs: Inputs that are fed (initializers left out), in order.
        outputs: Outputs in order.
        notes: What canonicalisation changed or left out, one sentence each, for the report.
        quantization: What a file that is quantized already says of its codes, by names of the canonical graph; None for a float model.
    """

    name: str
    digest: str
    graph: ir.Model
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]
    quantization: Quantization | None = None
