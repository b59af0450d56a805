"""Canonicalisation, one small pass a file; `host_tools.model.loader` runs them in this order.

Layout:
    float32.py       other float widths become float32
    masks.py         minus infinity before a Softmax
    folding.py       constants and shape subgraphs are computed
    removal.py       Identity, Dropout and other nodes that change nothing
    normalization.py LayerNormalization
    activations.py   Relu, Clip, HardSigmoid, HardSwish
    linear.py        Gemm and MatMul
    affine.py        BatchNormalization and per-channel Mul/Add into the layer before
    forward.py       the same into the layers behind
    biases.py        a bias, if only of zeros, for every layer
    explicit.py      windows, axes and sizes are written out
    sharing.py       weights get one consumer, nodes and values get names
"""
