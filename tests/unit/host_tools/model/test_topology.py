"""What the plan asks of a graph is in canonical form, or it says so."""

from __future__ import annotations

import pytest

from host_tools.model.topology import constant, shape_of
from tests.unit.host_tools.plan.plan_models import conv_relu


def test_only_an_initializer_has_an_array() -> None:
    graph = conv_relu().graph.graph
    assert constant(graph.initializers["b"]).shape == (3,)
    for value in (graph.inputs[0], graph[0].outputs[0]):
        with pytest.raises(ValueError, match=f"'{value.name}' is not an initializer"):
            constant(value)
    with pytest.raises(ValueError, match="'' is not an initializer"):
        constant(None)


def test_only_a_static_shape_is_one() -> None:
    graph = conv_relu().graph.graph
    assert shape_of(graph.inputs[0]) == (1, 2, 6, 6)
    graph.inputs[0].shape = None
    with pytest.raises(ValueError, match="'x' has no static shape"):
        shape_of(graph.inputs[0])
