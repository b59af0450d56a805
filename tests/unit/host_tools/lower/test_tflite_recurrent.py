"""LSTM, GRU and RNN in TFLite, step by step, beside ONNX Runtime's; and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from lowering_cases import Case, ending
from lowering_template import prepare
from tflite_file import assert_float_matches, float_payload, names_of, ops_of

from host_tools.errors import LoweringError
from host_tools.mixed_precision.costs import multiplications_of
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = 6
STEPS = 8
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(operator: str, *, directions: int = 1, inputs: int = 64) -> dict[str, Any]:
    """Return random weights and biases of a layer."""
    rng = np.random.default_rng(11)
    rows = GATES[operator] * HIDDEN
    return {
        "w": rng.normal(0, 0.3, (directions, rows, inputs)).astype(np.float32),
        "r": rng.normal(0, 0.5, (directions, rows, HIDDEN)).astype(np.float32),
        "b": rng.normal(0, 0.2, (directions, 2 * rows)).astype(np.float32),
    }


def recurrent(operator: str, call: str, result: tuple[int, ...], **more: Any) -> Case:
    """Return a convolution whose rows become the steps of a layer: `a` (1, 8, 8, 8) to `s` (8 steps, 1, 64)."""
    body = f"t = Transpose <perm = [2, 0, 1, 3]> (a) s = Reshape (t, steps) {call}"
    directions = more.pop("directions", 1)
    constants = {
        **layer(operator, directions=directions),
        "steps": np.asarray([STEPS, 1, 64], np.int64),
        **more,
    }
    return ending(operator.lower(), body, result, **constants)


ATTRIBUTES = f"hidden_size = {HIDDEN}"
BOTH = f'{ATTRIBUTES}, direction = "bidirectional"'
CASES = {
    "lstm": recurrent("LSTM", f"y, h, c = LSTM <{ATTRIBUTES}> (s, w, r, b)", (STEPS, 1, 1, HIDDEN)),
    "lstm_last_cell": recurrent("LSTM", f"o, h, y = LSTM <{ATTRIBUTES}> (s, w, r, b)", (1, 1, HIDDEN)),
    "lstm_both_ways": recurrent("LSTM", f"y, h, c = LSTM <{BOTH}> (s, w, r, b)", (STEPS, 2, 1, HIDDEN), directions=2),
    "lstm_backwards": recurrent("LSTM", f'y, h = LSTM <{ATTRIBUTES}, direction = "reverse"> (s, w, r, b)', (STEPS, 1, 1, HIDDEN)),
    "lstm_with_states": recurrent(
        "LSTM", f"n = ReduceMean <keepdims = 1> (s, all) z = Mul (n, six) y, h, c = LSTM <{ATTRIBUTES}> (s, w, r, b, , z, z)",
        (STEPS, 1, 1, HIDDEN), all=np.asarray([0, 2], np.int64), six=np.linspace(-1, 1, HIDDEN, dtype=np.float32).reshape(1, 1, HIDDEN),
    ),
    "lstm_with_peepholes": recurrent(
        "LSTM", f"y = LSTM <{ATTRIBUTES}> (s, w, r, b, , , , p)", (STEPS, 1, 1, HIDDEN),
        p=np.linspace(-0.5, 0.5, 3 * HIDDEN, dtype=np.float32).reshape(1, -1),
    ),
    "gru": recurrent("GRU", f"y, h = GRU <{ATTRIBUTES}> (s, w, r, b)", (STEPS, 1, 1, HIDDEN)),
    "gru_linear_before_reset": recurrent("GRU", f"y, h = GRU <{ATTRIBUTES}, linear_before_reset = 1> (s, w, r, b)", (STEPS, 1, 1, HIDDEN)),
    "gru_both_ways": recurrent("GRU", f"o, y = GRU <{BOTH}> (s, w, r, b)", (2, 1, HIDDEN), directions=2),
    "rnn_of_relu": recurrent("RNN", f'y = RNN <{ATTRIBUTES}, activations = ["Relu"]> (s, w, r, b)', (STEPS, 1, 1, HIDDEN)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_step_as_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    model, payload = float_payload(CASES[name], tmp_path)
    assert_float_matches(model, payload)


def test_the_input_is_multiplied_once_for_all_steps_and_the_state_once_a_step(tmp_path: Path) -> None:
    _, payload = float_payload(CASES["lstm"], tmp_path)
    products = [op for op in ops_of(payload) if op.name == "FULLY_CONNECTED"]
    assert len(products) == 1 + STEPS
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in names_of(payload)


@pytest.mark.parametrize(
    ("call", "constants", "reason"),
    [
        (f"y, h, c = LSTM <{ATTRIBUTES}, clip = 1.0> (s, w, r, b)", {}, "clips inside its cell"),
        (f"y, h, c = LSTM <{ATTRIBUTES}, input_forget = 1> (s, w, r, b)", {}, "input_forget = 1"),
        (
            f'y, h, c = LSTM <{ATTRIBUTES}, activations = ["Sigmoid", "Softsign", "Tanh"]> (s, w, r, b)',
            {},
            "activation 'Softsign'",
        ),
        (
            f"y, h, c = LSTM <{ATTRIBUTES}> (s, w, r, b, lengths)",
            {"lengths": np.asarray([3], np.int32)},
            "sequences of 3 to 3 of 8 steps",
        ),
        (
            f"n = ReduceMean <keepdims = 1> (s, all) m = Mul (r, n) y, h, c = LSTM <{ATTRIBUTES}> (s, w, m, b)",
            {"all": np.asarray([0, 1, 2], np.int64)},
            r"input 2 \('m'\) must be a constant",
        ),
    ],
)
def test_what_is_not_written_is_refused_by_name(
    call: str, constants: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    case = recurrent("LSTM", call, (STEPS, 1, 1, HIDDEN), **constants)
    with pytest.raises(LoweringError, match=reason) as refused:
        float_payload(case, tmp_path)
    assert "LSTM 'LSTM_y'" in str(refused.value)


def test_too_many_steps_are_refused_with_what_to_do(tmp_path: Path) -> None:
    body = f"p = Tile (a, times) t = Transpose <perm = [2, 0, 1, 3]> (p) s = Reshape (t, steps) y, h, c = LSTM <{ATTRIBUTES}> (s, w, r, b)"
    constants = {
        **layer("LSTM"),
        "times": np.asarray([1, 1, 40, 1], np.int64),
        "steps": np.asarray([320, 1, 64], np.int64),
    }
    with pytest.raises(LoweringError, match="has 320 steps") as refused:
        float_payload(ending("long", body, (320, 1, 1, HIDDEN), **constants), tmp_path)
    assert "--shape" in refused.value.hint


def test_an_lstm_whose_last_state_alone_is_read_is_converted_whole(tmp_path: Path) -> None:
    case = recurrent("LSTM", f", y = LSTM <{ATTRIBUTES}> (s, w, r, b)", (1, 1, HIDDEN))
    prepared = prepare(case, tmp_path, catalog.load("cortex-a-tflite"))
    assert multiplications_of(prepared.model) > 0
    assert "FULLY_CONNECTED" in names_of(prepared.lower())
    assert_float_matches(*float_payload(case, tmp_path))
