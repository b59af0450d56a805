"""Whatever is done to a file's bytes, it comes in as a model that runs, or is refused by one error of ours."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import EdgewrightError
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from tests.unit.host_tools.lint.mutations import mutated
from tests.unit.host_tools.lint.peers import TfliteModel
from tests.unit.host_tools.model.test_tflite_inputs import flattened_by_its_own_shape
from tests.unit.host_tools.model.test_tflite_operators_in import OPS, add_inputs

_MOST_RUN = 1 << 16
"""Elements of all values together of a model that is run: a changed shape may ask for any number."""


def one_operator(place: int) -> bytes:
    op, model = OPS[place], TfliteModel()
    tensors, fed = add_inputs(model, op.inputs)
    outs = [model.tensor(f"out{at}", shape, op.out) for at, shape in enumerate(op.outs)]
    model.operator(op.kind, tensors, outs, options=op.options, version=op.version)
    return model.write(fed, outs)


FILES = [one_operator(place) for place in range(len(OPS))] + [
    flattened_by_its_own_shape(),
    flattened_by_its_own_shape((-1, 3, 2, 2)),
]


def outcome(data: bytes) -> bool:
    """Load, and run what is small; tell whether the file came in."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "file.tflite")
        path.write_bytes(data)
        try:
            model = load(path)
            values = [value for node in model.graph.graph for value in (*node.inputs, *node.outputs) if value is not None]  # fmt: skip
            if sum(math.prod(value.shape.numpy()) for value in values) < _MOST_RUN:
                runner = FloatRunner(model, threads=1)
                runner.run({spec.name: np.ones(spec.shape, spec.dtype) for spec in model.inputs})
        except EdgewrightError as error:
            assert str(error).strip()
            return False
        return True


def test_the_files_themselves_come_in() -> None:
    assert all(outcome(data) for data in FILES)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.sampled_from(FILES).flatmap(mutated))
def test_changed_bytes(data: bytes) -> None:
    outcome(data)


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    outcome(data[:4] + b"TFL3" + data[4:])
