"""Reconstruction: weights are rounded, and biases set, so that each operator on quantized inputs gives what the float model gives.

Layout:
    reconstruction.py   reconstruct(): the story, operator by operator
    steps.py            the plan cut into steps, one operator and what it absorbs
    stream.py           samples on their way through the steps, float and quantized side by side, within a memory limit
    patches.py          what an operator with weights sees, as a matrix
    moments.py          second moments of inputs and outputs, summed over samples
    rounding.py         the integers of least squared error
    checkpoint.py       finished operators on disk, to go on from
"""

from __future__ import annotations

from host_tools.reconstruct.reconstruction import reconstruct

__all__ = ["reconstruct"]
