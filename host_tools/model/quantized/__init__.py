"""Models that are quantized already: their codes are taken out of the graph, and kept beside it.

What is left is the float model that the file stands for, with the weights that its codes mean; it goes through the same passes as any other.
The scales, zero points and types stay as a `Quantization`, by value name, and `host_tools.plan.imported` makes a plan of them.

Layout:
    coding.py        `Coding`, `Quantization`, and which scales and zero points can be believed
    from_onnx.py     QuantizeLinear and DequantizeLinear, and operators on codes, out of an ONNX graph
    operator_form.py QLinearConv and the like as the float operators they are
    node_codings.py  the coding that a node names by its inputs
    reals.py         what each value of codes stands for
    refusals.py      what is quantized in a way that no plan can hold: at run time, in blocks, in float8
    saturation.py    activations that a quantizer left to the codes
    from_tflite.py   the codes of a ``.tflite`` file's tensors
"""

from __future__ import annotations

from host_tools.model.quantized.coding import Coding, EdgeCoding, Quantization

__all__ = ["Coding", "EdgeCoding", "Quantization"]
