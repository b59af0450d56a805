"""`OPERATORS`: the words in which a profile may speak of operators. Not a list of what any target can do.

Names are ONNX operator types, so that a profile can be read beside any model. A lowering translates them.
"""

from __future__ import annotations

OPERATORS: frozenset[str] = frozenset(
    {
        # weighted
        "Conv", "ConvTranspose", "Gemm", "MatMul",
        # arithmetic
        "Add", "Sub", "Mul", "Div", "Min", "Max",
        # activations
        "Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Softmax",
        # reductions
        "GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean",
        # layout
        "Concat", "Split", "Slice", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose",
        "Resize",
        # simplified away, or kept when they cannot be
        "BatchNormalization", "Identity",
        # a change of scale on one edge, integer to integer
        "QuantizeLinear",
    }
)  # fmt: skip
"""`QuantizeLinear` stands for re-quantizing one edge: codes of one scale become codes of another."""

WITH_CONSTANTS: frozenset[str] = OPERATORS | {"Gather"}
"""What a precision without calibration may speak of: besides, an operator that no profile has in integers, but whose table can be stored so."""
