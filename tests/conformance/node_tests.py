"""`node_tests`: the `onnx` package's node tests, each as it stands and as an exporter would write it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node
from onnx.backend.test.loader import load_model_tests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx.backend.test.case.test_case import TestCase

Variant = Literal["fed", "constant"]
"""Whether every input is fed when the model runs, or all but the first float one are constants: weights, axes, shapes, the second operand."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeTest:
    """One test of one variant.

    Attributes:
        name: The package's name of it.
        variant: See `Variant`.
        operator: The operator that it is about; for ``_expanded`` tests the one whose function body it holds.
        model: The model.
        inputs: What it is fed, by name.
        outputs: What must come out, in the model's order; anything that is no tensor is None.
        rtol: The test's relative tolerance.
        atol: Its absolute tolerance.
    """

    name: str
    variant: Variant
    operator: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    outputs: list[np.ndarray | None]
    rtol: float
    atol: float

    @property
    def id(self) -> str:
        """Name and variant."""
        return f"{self.name}[{self.variant}]"

    def without_arrays(self) -> NodeTest:
        """Return the test without what only running it needs."""
        return dataclasses.replace(self, model=onnx.ModelProto(), inputs={}, outputs=[])


def node_tests(modules: Sequence[str] = ()) -> Iterator[NodeTest]:
    """Yield node tests of the installed `onnx` package, in its order; the constant variant where it differs.

    Args:
        modules: Of `onnx.backend.test.case.node`, e.g. ``conv``; all when empty. Making all takes half a minute, running none of them.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the package divides by zero where a test wants infinity
        cases = (
            [case for module in modules for case in _cases_of(module)]
            if modules
            else load_model_tests(kind="node")
        )
    operators = {
        case.name: case.model.graph.node[0].op_type for case in cases if "_expanded" not in case.name
    }
    for case in cases:
        own = next((one.op_type for one in case.model.graph.node), "?")
        operator = operators.get(case.name.partition("_expanded")[0], own)
        yield _as_fed(case, operator)
        constant = _with_constants(case, operator)
        if constant is not None:
            yield constant


@functools.cache
def _cases_of(module: str) -> tuple[TestCase, ...]:
    """Return a module's own cases: the package has one list for all modules that anybody imported, so what is new in it is kept."""
    before = len(node._NodeTestCases)
    importlib.import_module(f"{node.__name__}.{module}")
    return tuple(node._NodeTestCases[before:])


def _as_fed(case: TestCase, operator: str) -> NodeTest:
    (inputs, outputs), *_ = case.data_sets
    fed = {value.name: array for value, array in zip(case.model.graph.input, inputs, strict=False)}
    return _test(case, operator, "fed", case.model, fed, outputs)


def _with_constants(case: TestCase, operator: str) -> NodeTest | None:
    (inputs, outputs), *_ = case.data_sets
    if not all(_is_tensor(array) for array in inputs) or len(inputs) != len(case.model.graph.input):
        return None
    names = [value.name for value in case.model.graph.input]
    floats = [at for at, array in enumerate(inputs) if np.asarray(array).dtype.kind == "f"]
    if not floats or len(inputs) < 2:
        return None
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    kept = model.graph.input[floats[0]]
    for at, array in enumerate(inputs):
        if at != floats[0]:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), names[at]))
    del model.graph.input[:]
    model.graph.input.append(kept)
    return _test(case, operator, "constant", model, {kept.name: inputs[floats[0]]}, outputs)


def _is_tensor(array: object) -> bool:
    """Whether it is an array of a type that NumPy itself has."""
    return isinstance(array, (np.ndarray, np.generic)) and np.asarray(array).dtype.kind in "fiub"


def _test(
    case: TestCase, operator: str, variant: Variant, model: onnx.ModelProto, inputs: dict, outputs: list
) -> NodeTest:
    return NodeTest(
        name=case.name,
        variant=variant,
        operator=operator,
        model=model,
        inputs={
            name: np.asarray(array)
            for name, array in inputs.items()
            if isinstance(array, (np.ndarray, np.generic))
        },
        outputs=[
            np.asarray(array) if isinstance(array, (np.ndarray, np.generic)) else None for array in outputs
        ],
        rtol=case.rtol,
        atol=case.atol,
    )
