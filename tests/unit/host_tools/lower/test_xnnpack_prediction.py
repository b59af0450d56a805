"""What `host_tools.lint.xnnpack` says that XNNPACK will take, against the regions that LiteRT shows after it took them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lowering_cases import CASES, TWO_ENDS, Case
from lowering_template import prepare
from tflite_file import float_payload

from host_tools.lint.reading import read
from host_tools.lint.xnnpack import left_to_built_in
from host_tools.verify.probes import PROBES
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lower.payload import Payload

LEFT = {
    "average_pool", "hard_swish", "matmul_of_activations", "max", "pad_with_a_value", "prelu", "relu_bound_per_channel", "resize_nearest",
    "slice", "softmax",
}  # fmt: skip
"""Cases with an operator, one at least, that XNNPACK leaves; the test below would be an empty one if there were none."""


def predicted_and_seen(payload: Payload, folder: Path) -> list[tuple[str, bool, bool]]:
    """Return (operator, predicted, seen) for every operator of a file; the truth values say whether XNNPACK takes it."""
    path = folder / "model.tflite"
    path.write_bytes(payload.files["model.tflite"])
    file = read(path)
    seen = PROBES["tflite"].executed_ops(payload, threads=1)
    assert [op.kind for op in file.ops] == [op.op_type for op in seen]
    return [
        (f"{op.kind} {op.name}: {reason}", not reason, ran.kernel == "XNNPACK")
        for op, reason, ran in zip(file.ops, left_to_built_in(file), seen, strict=True)
    ]


@pytest.mark.parametrize("target", ["cortex-a-tflite", "cortex-m-tflm", "ethos-u55", "nxp-neutron"])
@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_every_operator_in_integers(case: Case, target: str, tmp_path: Path) -> None:
    found = predicted_and_seen(prepare(case, tmp_path, catalog.load(target)).lower(), tmp_path)
    assert [one for one in found if one[1] != one[2]] == []
    if case.name in LEFT:
        assert not all(predicted for _, predicted, _ in found)


@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_every_operator_in_float(case: Case, tmp_path: Path) -> None:
    found = predicted_and_seen(float_payload(case, tmp_path)[1], tmp_path)
    assert [one for one in found if one[1] != one[2]] == []
    assert any(predicted for _, predicted, _ in found)
