"""`split`: outlier channels become two of half the weight each, so that the range of what reads them is halved. It costs operations.

A channel that is made twice and read with half its weights computes the same, and with the two copies' factors free (see `equalize`) either
the weights or the activation of an outlier take half the range. Copies are made by a channel's producer, so each adds a row to one weight and a
column to others.

Source: R. Zhao et al., "Improving Neural Network Quantization without Retraining using Outlier Channel Splitting", ICML 2019.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.equalize.channels import channels_of
from host_tools.equalize.edits import Edits, values_of
from host_tools.equalize.links import takes_channels
from host_tools.equalize.observed import observed
from host_tools.equalize.weights import matrix_of
from host_tools.model.topology import bias_of, integers, is_constant, named, network_of, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.link import Axes
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics, TensorStatistics

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]

_PASSING: Final = frozenset(
    {
        *("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSwish", "Tanh"),
        *("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"),
    }
)
"""Operators that do to each channel the same, whatever their number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """A model with channels split.

    Attributes:
        model: Computes the same.
        statistics: What would be observed of it, ranges and moments; without histograms.
        channels: How many channels were added.
        weights: How many weights were added.
        growth: Those over the weights that there were.
    """

    model: FloatModel
    statistics: Statistics
    channels: int
    weights: int
    growth: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """Everything between an operator that makes channels and those that take them up.

    Attributes:
        producer: Has a row of weights for each.
        values: Names of the values between.
        addends: Additions of a constant between.
        takers: Operators with a column of weights for each.
    """

    producer: ir.Node
    values: list[str] = field(default_factory=list)
    addends: list[ir.Node] = field(default_factory=list)
    takers: list[ir.Node] = field(default_factory=list)


def split(model: FloatModel, statistics: Statistics, *, share: float) -> Split | None:
    """Split the channels of largest weights or values, wherever that is exact.

    Args:
        model: The canonical float model; not changed.
        statistics: Of its activations.
        share: Of a value's channels that are split, above 0 and at most 1; one at least.

    Returns:
        None where no channel can be split: between operators that make and take channels stands what ties them to others.
    """
    graph = model.graph.clone()
    network = network_of(graph)
    channels = channels_of(network)
    edits = Edits(graph.graph)
    found = dict(statistics.tensors)
    state = hashlib.sha256(f"{model.digest} split ".encode())
    before = _count_weights(graph)
    added = 0
    for run in tuple(_runs(network, channels.axes)):
        chosen = _outliers(run, channels, statistics, share)
        if not chosen.size:
            continue
        state.update(f"{run.values[0]} ".encode() + chosen.astype("<i8").tobytes())
        _double(edits, run, chosen, channels.axes, network)
        for name in run.values:
            found[name] = _with_copies(found[name], chosen)
        added += chosen.size
    if not added:
        return None
    edits.editor.drop_unused_initializers()
    made = dataclasses.replace(model, graph=graph, digest=f"sha256:{state.hexdigest()}")
    more = _count_weights(graph) - before
    return Split(
        model=made,
        statistics=dataclasses.replace(statistics, model_digest=made.digest, tensors=found),
        channels=added,
        weights=more,
        growth=more / before,
    )


def _runs(network: Network, axes: Axes) -> Iterator[_Run]:
    for node in network.nodes.values():
        if _has_plain_weights(node, axes):
            run = _Run(producer=node)
            if _follow(run, named(node.outputs[0]), network, axes):
                yield run


def _has_plain_weights(node: ir.Node, axes: Axes) -> bool:
    """Tell whether a node has a row for each output and a column for each input, in no groups."""
    return (
        node.op_type in ("Conv", "Gemm", "MatMul")
        and takes_channels(node, axes)
        and integers(node, "group", (1,)) == (1,)
    )


def _follow(run: _Run, value: str, network: Network, axes: Axes) -> bool:
    """Tell whether a value's channels, and those of all that is made of it one by one, end in weights."""
    readers = network.readers[value]
    if value in network.outputs or not readers:
        return False
    run.values.append(value)
    for reader in readers:
        node = network.nodes[reader.node]
        if reader.index == 0 and _has_plain_weights(node, axes):
            run.takers.append(node)
            continue
        is_sum = node.op_type == "Add" and sum(is_constant(one) for one in node.inputs) == 1
        result = named(node.outputs[0])
        if not (is_sum or (reader.index == 0 and node.op_type in _PASSING)):
            return False
        if (
            len(shape_of(node.outputs[0])) != len(shape_of(network.values[value]))
            or axes[result] != axes[value]
        ):
            return False
        if is_sum:
            run.addends.append(node)
        if not _follow(run, result, network, axes):
            return False
    return True


def _outliers(run: _Run, channels: Channels, statistics: Statistics, share: float) -> Indices:
    """Return the channels that stand out most among their like, by values or by the weights that read them; in order."""
    sizes = [observed(name, channels, statistics).reach for name in run.values]
    sizes += [np.abs(matrix_of(node).taps).max(axis=(0, 2)) for node in run.takers]
    excess = np.max([_over_median(one) for one in sizes], axis=0)
    count = min(max(1, round(share * excess.size)), excess.size)
    chosen = np.argsort(-excess, kind="stable")[:count]
    return np.sort(chosen[excess[chosen] > 0.0]).astype(np.intp)


def _over_median(sizes: Float64) -> Float64:
    awake = sizes[sizes > 0.0]
    ratios: Float64 = sizes / np.median(awake) if awake.size else np.zeros_like(sizes)
    return ratios


def _double(edits: Edits, run: _Run, chosen: Indices, axes: Axes, network: Network) -> None:
    every = np.concatenate([np.arange(shape_of(network.values[run.values[0]])[axes[run.values[0]]]), chosen])
    node = run.producer
    weight, bias = weight_of(node), bias_of(node)
    edits.replace(node, weight, np.take(values_of(weight), every, axis=1 if node.op_type == "MatMul" else 0))
    if bias is not None:
        edits.replace(node, bias, np.take(values_of(bias), every, axis=-1))
    for taker in run.takers:
        weight = weight_of(taker)
        axis = 0 if taker.op_type == "MatMul" else 1
        halves = np.where(np.isin(every, chosen), 0.5, 1.0)
        values = np.take(values_of(weight), every, axis=axis)
        edits.replace(
            taker, weight, values * halves.reshape([-1 if at == axis else 1 for at in range(values.ndim)])
        )
    for adding in run.addends:
        (addend,) = (value for value in adding.inputs if value is not None and is_constant(value))
        values, rank = values_of(addend), len(shape_of(adding.outputs[0]))
        place = axes[named(adding.outputs[0])] - (rank - values.ndim)
        if place >= 0 and values.shape[place] > 1:
            edits.replace(adding, addend, np.take(values, every, axis=place))
    for name in run.values:
        value = network.values[name]
        value.shape = ir.Shape(
            [every.size if at == axes[name] else extent for at, extent in enumerate(shape_of(value))]
        )


def _with_copies(seen: TensorStatistics, chosen: Indices) -> TensorStatistics:
    every = np.concatenate([np.arange(seen.channel_mean.size), chosen])
    squares, peaks = seen.channel_mean_square, seen.channel_peaks
    return dataclasses.replace(
        seen,
        channel_minimum=seen.channel_minimum[every],
        channel_maximum=seen.channel_maximum[every],
        channel_mean=seen.channel_mean[every],
        channel_mean_square=None if squares is None else squares[every],
        histogram=None,
        channel_peaks=None if peaks is None else peaks[:, every],
    )


def _count_weights(model: ir.Model) -> int:
    weights = {named(weight_of(node)): weight_of(node) for node in model.graph}
    return sum(math.prod(shape_of(value)) for value in weights.values() if value is not None)
