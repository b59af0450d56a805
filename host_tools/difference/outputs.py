"""Run two files on the same inputs, and measure how far the second's outputs are from the first's."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.engines import load_engine
from device_agent.sources.adapt import source_shape, to_payload, to_source
from host_tools.difference.differences import OutputDifference, OutputsRun
from host_tools.errors import InputError
from host_tools.verify.metrics import OutputComparison

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from host_tools.difference.side import Side

    Arrays = Mapping[str, NDArray[np.generic]]

_SEED: Final = 0
_FLOAT_RANGE: Final = (-1.0, 1.0)
"""Of random inputs whose range neither file nor plan says."""


def run_outputs(a: Side, b: Side, *, count: int) -> OutputsRun:
    """Run both on A's golden inputs and, beyond these, on random ones within the inputs' range; always the same ones.

    Args:
        a: The reference.
        b: What is measured against it.
        count: How many inputs; at least 1.

    Raises:
        InputError: The two do not take the same inputs or give the same outputs.
        EngineError: An engine is absent, refuses its payload, or fails.
    """
    as_stored = a.manifest is None or b.manifest is None
    ours, our_outputs = a.tensors(as_stored=as_stored)
    theirs, their_outputs = b.tensors(as_stored=as_stored)
    _require_same("inputs", a, b, ours, theirs)
    _require_same("outputs", a, b, our_outputs, their_outputs)
    golden = [to_source(sample, ours) for sample in a.golden[:count]]
    with ExitStack() as stack:
        first = stack.enter_context(closing(load_engine(a.engine, a.payload, threads=1)))
        second = stack.enter_context(closing(load_engine(b.engine, b.payload, threads=1)))
        meters = {tensor.source_name: OutputComparison() for tensor in our_outputs}
        for sample in (*golden, *_random(a, ours, count - len(golden))):
            wanted = to_source(
                [np.array(one) for one in first.infer(to_payload(_typed(sample, ours), ours))], our_outputs
            )
            found = to_source(second.infer(to_payload(_typed(sample, theirs), theirs)), their_outputs)
            for name, meter in meters.items():
                meter.add(wanted[name], found[name])
        engines = [f"{one.name} {one.version}" for one in (first, second)]
    return OutputsRun(
        golden=len(golden),
        random=count - len(golden),
        a_engine=engines[0],
        b_engine=engines[1],
        outputs=tuple(_measured(tensor, meters[tensor.source_name]) for tensor in our_outputs),
    )


def _measured(tensor: PayloadTensor, meter: OutputComparison) -> OutputDifference:
    return OutputDifference(
        name=tensor.source_name,
        sqnr_db=meter.sqnr_db,
        same_class=meter.same_top_class,
        largest=meter.absolute_max,
        largest_lsb=None if tensor.scale is None else meter.absolute_max / tensor.scale,
        nonfinite=meter.nonfinite_count,
    )


def _require_same(
    what: str, a: Side, b: Side, ours: Sequence[PayloadTensor], theirs: Sequence[PayloadTensor]
) -> None:
    said = [{tensor.source_name: source_shape(tensor) for tensor in tensors} for tensors in (ours, theirs)]
    if said[0] != said[1]:
        raise InputError(
            f"{a.path} and {b.path} cannot be run side by side: their {what} are {said[0]} and {said[1]}.",
            hint="Leave --run out to compare the rest.",
        )


def _typed(sample: Arrays, tensors: Sequence[PayloadTensor]) -> Arrays:
    """Return the sample with integers that are no codes in the type that the payload takes."""
    return {
        tensor.source_name: sample[tensor.source_name]
        if tensor.scale is not None or tensor.dtype == "float32"
        else sample[tensor.source_name].astype(tensor.dtype)
        for tensor in tensors
    }


def _random(a: Side, tensors: Sequence[PayloadTensor], count: int) -> Iterator[Arrays]:
    """Yield random inputs of the float model's layout, evenly spread over each input's range."""
    rng = np.random.default_rng(_SEED)
    for _ in range(count):
        yield {tensor.source_name: _drawn(rng, a, tensor) for tensor in tensors}


def _drawn(rng: np.random.Generator, a: Side, tensor: PayloadTensor) -> NDArray[np.generic]:
    shape = source_shape(tensor)
    if tensor.dtype != "float32" and tensor.scale is None:
        return rng.integers(0, 2, shape).astype(tensor.dtype)
    low, high = _range(a, tensor)
    return rng.uniform(low, high, shape).astype(np.float32)


def _range(a: Side, tensor: PayloadTensor) -> tuple[float, float]:
    if tensor.scale is not None and tensor.zero_point is not None and tensor.dtype != "float32":
        limits = np.iinfo(tensor.dtype)
        return (limits.min - tensor.zero_point) * tensor.scale, (
            limits.max - tensor.zero_point
        ) * tensor.scale
    planned = a.plan.tensors.get(tensor.source_name) if a.plan is not None else None
    if planned is not None and planned.qparams is not None:
        qparams = planned.qparams
        scale, zero = qparams.scale[0], qparams.zero_point[0]
        return (qparams.quant_min - zero) * scale, (qparams.quant_max - zero) * scale
    return _FLOAT_RANGE
