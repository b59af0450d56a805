"""The float model: read once, brought into one canonical form, which everything after relies on.

Layout:
    float_model.py    FloatModel, TensorSpec: what canonical form guarantees
    loader.py         load(): the story, pass after pass
    incoming.py       what comes in becomes an ONNX file
    from_tensorflow/  Keras and TensorFlow to ONNX, in a process of their own
    from_tflite/      float TFLite to ONNX
    quantized/        models that are quantized already: their codes, kept beside the graph
    source.py         file, external data, digest
    admission.py      what is refused, by name
    constant_inputs.py --constant
    shapes.py         --shape, inference, static shapes
    opset.py          opset 18 to 21
    old_operators.py  what operators of opset 12 and older meant
    graph_editor.py   edits that keep a graph valid
    topology.py       the graph by names: who reads what
    rounding.py       nodes that quantize as a target rounds
    pixel_input.py    mean and std inside the model
    channel_axes.py   along which axis of each activation its channels lie
    passes/           canonicalisation, one file a concern
    export.py         canonical graph to ONNX bytes
    reference.py      FloatRunner: the canonical model on ONNX Runtime
"""

from __future__ import annotations

from host_tools.model.export import export_onnx
from host_tools.model.float_model import ElementType, FloatModel, TensorSpec
from host_tools.model.loader import load

__all__ = ["ElementType", "FloatModel", "TensorSpec", "export_onnx", "load"]
