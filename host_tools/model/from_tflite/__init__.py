"""Float TFLite becomes ONNX, without TensorFlow: each operator is written in ONNX's words, and images lie channels first between them.

Layout:
    importing.py    `to_onnx`: the story, operator after operator
    admission.py    which files are quantized already, and other things that are refused before anything is translated
    onnx_graph.py   `OnnxGraph`: nodes and constants, each with its static shape as soon as it is there
    session.py      which ONNX value holds each tensor of the file, in which layouts
    call.py         `Call`: one operator as its translator sees it
    constants.py    stored values as float, within a bound on memory
    folding.py      what can be computed at once: shapes, and what is made of them
    windows.py      SAME and VALID as explicit pads
    translate/      one function an operator, one file a kind
"""
