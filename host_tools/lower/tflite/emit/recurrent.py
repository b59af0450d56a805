"""Recurrent layers in float: LSTM, GRU and RNN, each of whose steps becomes operators of its own.

TFLite's own UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state from one inference to the next and takes none from the model, which is another
function than ONNX's. What a step computes: ONNX operators LSTM, GRU and RNN, section Equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools import layouts
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.emit.formula import Formula
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.plan_view import has_input, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.lower.tflite.session import Session

_MOST_STEPS: Final = 256
"""Of one direction: a dozen operators each. Beyond, files grow that interpreters take seconds to prepare."""

_X, _W, _R, _B, _LENGTHS, _H, _C, _P = range(8)
"""Places of the inputs."""

_ACTIVATIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
)
_OPERATORS: Final[Mapping[str, str]] = MappingProxyType(
    {"sigmoid": "LOGISTIC", "tanh": "TANH", "relu": "RELU"}
)
_DIRECTIONS: Final[Mapping[str, tuple[bool, ...]]] = MappingProxyType(
    {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
)
"""Whether each direction begins at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One direction of a layer.

    Attributes:
        index: Which direction, from 0.
        backwards: Whether it begins at the last step.
        of_input: Weights of the input, shape (gates * hidden, inputs).
        of_state: Weights of the state, shape (gates * hidden, hidden).
        input_bias: Shape (gates * hidden,).
        state_bias: Likewise; added to what the weights of the state give.
        peepholes: Of an LSTM, shape (3 * hidden,), in the order input, output, forget; None where it has none.
        activations: Builtin operators, in ONNX's order.
    """

    index: int
    backwards: bool
    of_input: NDArray[np.float32]
    of_state: NDArray[np.float32]
    input_bias: NDArray[np.float32]
    state_bias: NDArray[np.float32]
    peepholes: NDArray[np.float32] | None
    activations: tuple[str, ...]


def recurrent(session: Session, node: ir.Node) -> None:
    """Write an LSTM, a GRU or an RNN, step after step.

    Raises:
        LoweringError: Too many steps, weights that are computed, or a setting that is written for no format here: sequences of several
            lengths, clipping, coupled gates, the batch first, other activations than Sigmoid, Tanh and Relu.
    """
    formula = Formula(session, node)
    data = session.read(node, _X, layouts.natural(3))
    steps, batch, inputs = formula.shape(data)
    _require_plain(session, node, steps)
    rows = session.reshape(data, (steps * batch, inputs), node)
    histories, lasts = [], []
    for layer in _layers(session, node):
        history, state = _run(_Steps(session, node, formula, layer), rows, steps, batch)
        histories.append(session.reshape(history, (steps, 1, batch, layer.of_state.shape[1]), node))
        lasts.append(
            [session.reshape(one, (1, *formula.shape(one)), node) for one in state],
        )
    results = [spatial.concatenate(session, node, histories, 1)]
    results += [spatial.concatenate(session, node, one, 0) for one in zip(*lasts, strict=True)]
    for index, value in enumerate(node.outputs):
        if value.name:
            formula.deliver(results[index], layouts.natural(len(formula.shape(results[index]))), index)


def _require_plain(session: Session, node: ir.Node, steps: int) -> None:
    attributes = node.attributes
    if steps > _MOST_STEPS:
        raise refuse(
            node,
            f"has {steps} steps; TFLite files are written with at most {_MOST_STEPS}, each as operators of its own.",
            hint="Feed fewer steps an inference (a shorter --shape) with the state as an input, or choose a target of another format.",
        )
    for name, plain in (("layout", 0), ("input_forget", 0)):
        if attributes.get_int(name, plain) != plain:
            raise refuse(
                node, f"{name} = {attributes.get_int(name, plain)}; TFLite files are written with {plain}."
            )
    if "clip" in attributes:
        raise refuse(node, "clips inside its cell, which TFLite files are not written with.")
    if has_input(node, _LENGTHS):
        lengths = session.array(node, _LENGTHS)
        if (lengths != steps).any():
            raise refuse(
                node, f"sequences of {lengths.min()} to {lengths.max()} of {steps} steps; all must be whole."
            )


def _layers(session: Session, node: ir.Node) -> list[_Layer]:
    directions = _DIRECTIONS[str(node.attributes.get_string("direction", "forward"))]
    names = node.attributes.get_strings("activations") or _ACTIVATIONS[node.op_type] * len(directions)
    unknown = [name for name in names if name.lower() not in _OPERATORS]
    if unknown:
        raise refuse(
            node, f"activation {unknown[0]!r}; TFLite files are written with Sigmoid, Tanh and Relu."
        )
    operators = [_OPERATORS[name.lower()] for name in names]
    each = len(operators) // len(directions)
    weights, states = _floats(session, node, _W), _floats(session, node, _R)
    width = weights.shape[1]
    biases = (
        _floats(session, node, _B)
        if has_input(node, _B)
        else np.zeros((len(directions), 2 * width), np.float32)
    )
    peepholes = _floats(session, node, _P) if has_input(node, _P) else None
    return [
        _Layer(
            index=at,
            backwards=backwards,
            of_input=weights[at],
            of_state=states[at],
            input_bias=biases[at, :width],
            state_bias=biases[at, width:],
            peepholes=None if peepholes is None else peepholes[at],
            activations=tuple(operators[at * each : (at + 1) * each]),
        )
        for at, backwards in enumerate(directions)
    ]


def _floats(session: Session, node: ir.Node, index: int) -> NDArray[np.float32]:
    session.array(node, index)  # refuses what is no constant
    return np.asarray(session.constant_codes(node, index)[0], np.float32)


def _run(cell: _Steps, rows: int, steps: int, batch: int) -> tuple[int, tuple[int, ...]]:
    """Return all states in the order of the steps, shape (steps * batch, hidden), and the last ones."""
    ahead = cell.connected(rows, cell.layer.of_input, cell.layer.input_bias)
    width = cell.layer.of_input.shape[0]
    state = cell.first(batch)
    history = []
    for step in reversed(range(steps)) if cell.layer.backwards else range(steps):
        part = (
            ahead
            if steps == 1
            else spatial.slice_tensor(cell.session, cell.node, ahead, (step * batch, 0), (batch, width))
        )
        state = _STEPS[cell.node.op_type](cell, part, *state)
        history.append(state[0])
    if cell.layer.backwards:
        history.reverse()
    return spatial.concatenate(cell.session, cell.node, history, 0), state


@dataclass(frozen=True, slots=True)
class _Steps:
    """What the steps of one direction are written with."""

    session: Session
    node: ir.Node
    formula: Formula
    layer: _Layer

    @property
    def hidden(self) -> int:
        """How many numbers a state has."""
        return int(self.layer.of_state.shape[1])

    def first(self, batch: int) -> tuple[int, ...]:
        """Return the states before the first step, each of shape (batch, hidden): the model's, or zeros."""
        places = (_H, _C) if self.node.op_type == "LSTM" else (_H,)
        return tuple(self._given(place, batch) for place in places)

    def _given(self, place: int, batch: int) -> int:
        if not has_input(self.node, place):
            return self.session.graph.constant("state", np.zeros((batch, self.hidden), np.float32))
        given = self.session.read(self.node, place, layouts.natural(3))
        if self.formula.shape(given)[0] > 1:
            begin, size = (self.layer.index, 0, 0), (1, batch, self.hidden)
            given = spatial.slice_tensor(self.session, self.node, given, begin, size)
        return self.session.reshape(given, (batch, self.hidden), self.node)

    def connected(self, data: int, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
        """Return data of shape (rows, inputs) times weights of shape (outputs, inputs), plus a bias."""
        graph = self.session.graph
        constants = [graph.constant("weights", weights), graph.constant("bias", bias)]
        shape = (self.formula.shape(data)[0], weights.shape[0])
        options = Options(kind="FullyConnectedOptions")
        return self.formula.one("FULLY_CONNECTED", data, *constants, shape=shape, options=options)

    def of_state(self, state: int, gates: slice = slice(None)) -> int:
        """Return what the state adds to the gates."""
        rows = slice(
            None if gates.start is None else gates.start * self.hidden,
            None if gates.stop is None else gates.stop * self.hidden,
        )
        return self.connected(state, self.layer.of_state[rows], self.layer.state_bias[rows])

    def gate(self, data: int, first: int, count: int = 1) -> int:
        """Return some of the gates that lie beside one another."""
        rows = self.formula.shape(data)[0]
        begin, size = (0, first * self.hidden), (rows, count * self.hidden)
        return spatial.slice_tensor(self.session, self.node, data, begin, size)

    def activated(self, data: int, index: int) -> int:
        """Return the data behind one of the layer's activations."""
        return self.formula.one(self.layer.activations[index], data)

    def peeped(self, data: int, cell: int, index: int) -> int:
        """Return the data plus what a peephole lets through of the cell."""
        if self.layer.peepholes is None:
            return data
        weights = self.layer.peepholes[index * self.hidden : (index + 1) * self.hidden]
        constant = self.session.graph.constant("peephole", weights.reshape(1, -1))
        return self.formula.add(data, self.formula.mul(cell, constant))


def _lstm(step: _Steps, ahead: int, state: int, cell: int) -> tuple[int, ...]:
    f, total = step.formula, step.formula.add(ahead, step.of_state(state))
    enter = step.activated(step.peeped(step.gate(total, 0), cell, 0), 0)
    forget = step.activated(step.peeped(step.gate(total, 2), cell, 2), 0)
    candidate = step.activated(step.gate(total, 3), 1)
    after = f.add(f.mul(forget, cell), f.mul(enter, candidate))
    leave = step.activated(step.peeped(step.gate(total, 1), after, 1), 0)
    return f.mul(leave, step.activated(after, 2)), after


def _gru(step: _Steps, ahead: int, state: int) -> tuple[int, ...]:
    f = step.formula
    if step.node.attributes.get_int("linear_before_reset", 0):
        behind = step.of_state(state)
        doors = step.activated(f.add(step.gate(ahead, 0, 2), step.gate(behind, 0, 2)), 0)
        kept = f.mul(step.gate(doors, 1), step.gate(behind, 2))
    else:
        doors = step.activated(f.add(step.gate(ahead, 0, 2), step.of_state(state, slice(0, 2))), 0)
        kept = step.of_state(f.mul(step.gate(doors, 1), state), slice(2, 3))
    update, candidate = step.gate(doors, 0), step.activated(f.add(step.gate(ahead, 2), kept), 1)
    return (f.add(candidate, f.mul(update, f.sub(state, candidate))),)


def _rnn(step: _Steps, ahead: int, state: int) -> tuple[int, ...]:
    return (step.activated(step.formula.add(ahead, step.of_state(state)), 0),)


_STEPS: Final[Mapping[str, Callable[..., tuple[int, ...]]]] = MappingProxyType(
    {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
)
EMITTERS: Mapping[str, Callable[[Session, ir.Node], None]] = MappingProxyType(
    dict.fromkeys(_STEPS, recurrent)
)
