"""EfficientNet-Lite0 as a float ONNX model, and a few labelled photos, from two packages of the Python index.

What it is not: a training recipe, or a data set. Start at `prepare`; `README.md` has the command.
"""
