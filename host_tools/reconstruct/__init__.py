"""Reconstruction: weights are rounded, and biases set, so that each operator on quantized inputs gives what the float model gives.

Layout:
    reconstruction.py   reconstruct(): the story, operator by operator
    steps.py            the plan cut into steps, one operator and what it absorbs
    stream.py           samples on their way through the steps, float and quantized side by side, within a memory limit
    patches.py          what an operator with weights sees, as a matrix
    goals.py            what each operator's output is held against
    solver.py           one operator: from samples to integers and bias
    reading.py          a stored value as its reader sees it
    moments.py          second moments of inputs and outputs, summed over samples
    problem.py          an operator's weights and moments, and the integers they ask for
    rounding.py         the integers of least squared error
    compensation.py     one input after the other, errors handed on: the first pass of both roundings
    exponents.py        power-of-two scales by what the operator gives
    checkpoint.py       finished operators on disk, to go on from
    stored_matrices.py  which matrices a plan of weights alone stores
    read_moments.py     moments of what they read
    activation_scaling.py   scale_by_activations(): their input channels, before they are rounded
    scaling_sites.py    which matrices may have their channels scaled together
    products.py         a product in front of a matrix, where nothing else takes the factors up
    gptq.py             round_by_outputs(): the matrices of a plan of weights alone
    successive.py       one such matrix, input by input
"""

from __future__ import annotations

from host_tools.reconstruct.activation_scaling import scale_by_activations
from host_tools.reconstruct.gptq import round_by_outputs
from host_tools.reconstruct.reconstruction import reconstruct

__all__ = ["reconstruct", "round_by_outputs", "scale_by_activations"]
