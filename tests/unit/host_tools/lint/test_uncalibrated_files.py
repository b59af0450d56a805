"""What `targets check`, `inspect` and `diff` say of files that no calibration went into."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from host_tools.difference.tensors import plan_scale_changes
from host_tools.inspection.payload import inspect_payload
from host_tools.lint.reading import read
from host_tools.lint.rules import check
from targets import catalog
from targets.profile import CLUSTERED
from tests.unit.host_tools.lower.uncalibrated_networks import IMAGE, image_constants, made, network

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lint.facts import LintedFile
    from targets.profile import PlanPrecision

NAMES = {
    "x86_64-onnxruntime": "model.onnx",
    "x86_64-openvino": "model.xml",
    "cortex-a-tflite": "model.tflite",
}
PRECISIONS: tuple[PlanPrecision, ...] = ("weights-int4", "weights-int8", "weights-float16", "int8-dynamic")
HAVING = {
    *{(target, precision) for target in NAMES for precision in PRECISIONS},
    *{(target, precision) for target in NAMES if target != "cortex-a-tflite" for precision in CLUSTERED},
}


def written(folder: Path, target: str, precision: PlanPrecision) -> Path:
    """Write a payload of the network of convolutions, of which int4 stores no more than the last product."""
    payload = made(network(folder / target, IMAGE, image_constants()), target, precision)[2]
    for name, data in payload.files.items():
        (folder / target / name).write_bytes(data)
    return folder / target / NAMES[target]


def linted(folder: Path, target: str, precision: PlanPrecision) -> LintedFile:
    """Return what an artifact's reader says: the file, and the precision of its plan."""
    return replace(read(written(folder, target, precision)), precision=precision)


@pytest.mark.parametrize(("target", "precision"), sorted(HAVING))
def test_our_own_files_are_clean(tmp_path: Path, target: str, precision: PlanPrecision) -> None:
    assert check(linted(tmp_path, target, precision), catalog.load(target)) == ()


def test_a_target_without_the_precision_is_told(tmp_path: Path) -> None:
    (found,) = check(
        linted(tmp_path, "cortex-a-tflite", "weights-int8"),
        replace(catalog.load("cortex-a-tflite"), uncalibrated={}),
    )
    assert (found.rule, found.severity, found.got, found.allowed) == (
        "plan-precision",
        "error",
        "weights-int8",
        "int8",
    )


def test_a_weight_of_codes_that_the_target_does_not_read_is_named(tmp_path: Path) -> None:
    profile = catalog.load("cortex-a-tflite")
    dynamic = replace(profile.uncalibrated["int8-dynamic"], ops=frozenset({"Gemm"}))
    found = check(
        linted(tmp_path, "cortex-a-tflite", "int8-dynamic"),
        replace(profile, uncalibrated={"int8-dynamic": dynamic}),
    )
    assert [one.got for one in found] == ["a weight of codes"] * 2
    assert all("CONV_2D" in one.where for one in found)


@pytest.mark.parametrize("precision", [*PRECISIONS, *CLUSTERED])
def test_a_bare_onnx_file_tells_its_precision(tmp_path: Path, precision: PlanPrecision) -> None:
    assert read(written(tmp_path, "x86_64-onnxruntime", precision)).precision == precision


@pytest.mark.parametrize("target", sorted(NAMES))
def test_an_inspection_counts_what_is_stored(tmp_path: Path, target: str) -> None:
    found = inspect_payload(written(tmp_path, target, "int8-dynamic"))
    assert sum(sum(counts.values()) for counts in found.operators.values()) > 0
    assert found.inputs[0].dtype == "float32"


def test_plans_of_other_groups_differ_in_their_weights_alone(tmp_path: Path) -> None:
    model = network(tmp_path)
    one, other = (made(model, "x86_64-onnxruntime", "weights-int8", group)[1] for group in (16, 32))
    assert sorted(change.name for change in plan_scale_changes(one, other)) == ["down", "head", "up"]
    assert plan_scale_changes(one, one) == ()
