"""A keyword spotter of openWakeWord as one graph: the network that makes a vector of each window of sound, and the one that judges their sequence.

The package runs them one after the other, and keeps vectors of windows that it saw before; joined they decide the same of the same sound.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

WINDOWS: Final = 34
"""That the judge of timers reads, 80 ms apart."""
FRAMES, BANDS, FEATURES = 76, 32, 96
HOP_FRAMES: Final = 8
SECONDS: Final = (FRAMES + HOP_FRAMES * (WINDOWS - 1)) / 100 + 0.03
"""Sound that so many windows are made of; the last frames need three hundredths of a second more."""


def join(trunk: bytes, head: bytes) -> onnx.ModelProto:
    """Return one graph from ``frames``, (WINDOWS, FRAMES, BANDS, 1), to ``timers``, (1, classes), in float32.

    Args:
        trunk: ``embedding_model.onnx``: windows to vectors.
        head: A judge of ``WINDOWS`` vectors.
    """
    first = compose.add_prefix(onnx.load_model_from_string(trunk), "trunk/")
    second = compose.add_prefix(onnx.load_model_from_string(head), "head/")
    vectors, wanted = first.graph.output[0].name, second.graph.input[0].name
    shape = numpy_helper.from_array(np.asarray([1, WINDOWS, FEATURES], np.int64), "sequence_shape")
    between = helper.make_node("Reshape", [vectors, shape.name], [wanted], name="sequence")
    outputs = [helper.make_tensor_value_info("timers", TensorProto.FLOAT, [1, None])]
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, [WINDOWS, FRAMES, BANDS, 1])
    named = {first.graph.input[0].name: "frames", second.graph.output[0].name: "timers"}
    nodes = [*first.graph.node, between, *second.graph.node]
    for node in nodes:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = named.get(name, name)
    constants = [*first.graph.initializer, shape, *second.graph.initializer]
    graph = helper.make_graph(nodes, "spotter", [frames], outputs, constants)
    return helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
