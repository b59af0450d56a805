"""Lower: a plan becomes the file that its target reads.

Layout:
    lowering.py         lower(): picks the lowering of the target's format
    payload.py          Payload: what comes out
    coverage.py         does the plan speak of everything in the model?
    integers.py         real numbers to codes and back, for all formats
    interface.py        inputs and outputs as the application sees them
    saturation.py       activations that quantization does anyway
    onnx_qdq.py         ONNX QDQ: qdq_plan.py asks the plan, qdq_graph.py places, qdq_nodes.py makes nodes, onnx_file.py writes
    sidecars.py         files beside an ONNX payload for vendors' compilers: encodings.py (Qualcomm), nncase_scheme.py, the float model
    openvino_ir.py      OpenVINO IR: openvino_preparation.py before it is read, openvino_weights.py, openvino_graph.py places,
                        openvino_ports.py finds, openvino_codes.py makes nodes, openvino_file.py writes;
                        openvino_misread.py refuses what its reader gets wrong
    tflite/             TFLite
"""
