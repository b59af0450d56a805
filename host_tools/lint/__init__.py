"""Hold any file, ours or not, against what a target can do: `edgewright targets check FILE --target ID`.

Layout:
    facts.py       `LintedFile`: what a file says of its operators and tensors, the same for every format
    interface.py   inputs and outputs of a bare file, as an engine takes and gives them
    reading.py     which reader reads which file; every fault of a file is a `FileError`
    tflite.py      reads ``.tflite``, with tflite_operators.py (what each builtin operator is)
    onnx.py        reads ``.onnx`` with QuantizeLinear and DequantizeLinear, with onnx_tensors.py (which codes flow where)
    openvino.py    reads OpenVINO's ``.xml`` and ``.bin``, with openvino_layers.py (layers and constants as they stand there)
                   and openvino_tensors.py (which codes flow where)
    finding.py     `Finding`: a broken rule, with the profile's fact and its source
    rules.py       `check`: every rule in order; whole.py, operators.py, limits.py, arithmetic.py and weights.py have them
    fusing.py      joins what a target runs as one
    report.py      findings as a table and as JSON
    xnnpack.py     which operators of a TFLite file XNNPACK will take; xnnpack_demands.py is what it asks of tensors

A reader never judges and a rule never reads.
"""
