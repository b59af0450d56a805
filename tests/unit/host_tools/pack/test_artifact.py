"""Packing refuses what must not ship; versions stand in file names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.errors import InputError
from host_tools.pack.artifact import Artifact, checked_version, pack
from host_tools.recipe import KeepFloat, Recipe
from host_tools.verify.candidate import Candidate
from host_tools.verify.operator_parity import OperatorMeter
from host_tools.verify.output_parts import OutputParts
from host_tools.verify.parity import ParityMeter
from host_tools.verify.verification_report import (
    Agreement,
    Execution,
    Parity,
    TargetReport,
    Verdict,
)
from tests.unit.host_tools.small_candidate import small_candidate


@pytest.mark.parametrize("version", ["1.0.0", "2026-11-25", "1.4.0+build.7", "7", "a_b"])
def test_versions(version: str) -> None:
    assert checked_version(version) == version


@pytest.mark.parametrize("version", ["", " ", "../1", "1/2", "-1", ".1", "1 0", "1\n", "x" * 65, "ü"])
def test_texts_that_are_no_versions(version: str) -> None:
    with pytest.raises(InputError, match="--model-version"):
        checked_version(version)


@given(st.text(max_size=70))
def test_a_version_never_leaves_its_folder(text: str) -> None:
    try:
        version = checked_version(text)
    except InputError:
        return
    assert "/" not in version
    assert version not in (".", "..")


def report_of(candidate: Candidate, verdict: Verdict) -> TargetReport:
    return TargetReport(
        target=candidate.profile.id,
        verdict=verdict,
        reasons=("test",),
        engine="test",
        method="minmax",
        payload_bytes=1,
        float_bytes=1,
        quality=(),
        agreement=Agreement(
            sample_count=1,
            sample_origin="test",
            same_top_class=None,
            sqnr_db=None,
            max_absolute=0.0,
            mean_absolute=0.0,
            nonfinite_count=0,
        ),
        layers=(),
        execution=Execution(
            source="test", stand_in=False, ops=(), integer_ops=0, float_ops=0, unplanned_float_ops=()
        ),
        latency=None,
        parity=None,
        warnings=(),
    )


@pytest.mark.parametrize("verdict", ["fail", "nonfinite"])
def test_what_did_not_pass_is_not_packed(verdict: Verdict, tmp_path: Path) -> None:
    model, candidate = small_candidate(tmp_path, "cortex-a-tflite")
    report = report_of(candidate, verdict)
    with pytest.raises(
        InputError, match=f"cortex-a-tflite: a payload with verdict '{verdict}' is not packed"
    ):
        pack(
            model,
            candidate.payload,
            candidate.plan,
            report,
            candidate.profile,
            version="1",
            golden=(),
            recipe=Recipe(),
            preparation=None,
            made_with={},
        )


@pytest.mark.parametrize(
    ("target", "features", "otherwise"),
    [
        ("x86_64-openvino", ("avx512_vnni", "avx_vnni"), "x86_64-openvino-avx2"),
        ("x86_64-openvino-avx2", (), None),
        ("x86_64-onnxruntime", (), None),
    ],
)
def test_what_saturates_without_a_feature_of_the_processor_names_it(
    tmp_path: Path, target: str, features: tuple[str, ...], otherwise: str | None
) -> None:
    requires = packed(tmp_path, target, Recipe(method="minmax")).manifest.requires
    assert (requires.processor_features, requires.otherwise) == (features, otherwise)


def test_a_file_without_8_bit_products_runs_on_every_processor(tmp_path: Path) -> None:
    floats = Recipe(method="minmax", keep_float=KeepFloat(ops=frozenset({"Conv", "Gemm"})))
    assert packed(tmp_path, "x86_64-openvino", floats).manifest.requires.processor_features == ()


def test_floats_behind_integers_may_be_as_far_away_as_other_kernels_take_them(tmp_path: Path) -> None:
    """A detector's boxes were 5 pixels off on an Arm board, where a thousandth of the largest was tolerated: it did not start."""
    floats = Recipe(method="minmax", keep_float=KeepFloat(ops=frozenset({"Gemm"})))
    model, candidate = small_candidate(tmp_path, "x86_64-onnxruntime", floats)
    (output,) = (spec.name for spec in model.outputs)
    assert candidate.plan.tensors[output].qparams is None
    meter = ParityMeter(candidate.plan, candidate.profile, OutputParts(model))
    exact = np.ones((1, 10))
    meter.add({output: exact}, {output: exact * 1.5}, {output: exact * 1.25})
    meter.add({output: exact}, {output: exact}, {output: exact})
    parity = meter.result(OperatorMeter(candidate))
    assert parity is not None
    assert parity.max_unplanned == 0.25
    report = dataclasses.replace(report_of(candidate, "pass"), parity=parity)
    assert packed(tmp_path, candidate.profile.id, floats, report).manifest.tolerance.absolute == 0.5
    assert packed(tmp_path, candidate.profile.id, floats).manifest.tolerance.absolute == 1e-3
    in_codes = packed(tmp_path, candidate.profile.id, Recipe(method="minmax"), report).manifest
    (step,) = candidate_step(tmp_path, in_codes.target)
    assert in_codes.tolerance.absolute == in_codes.tolerance.max_lsb * step


def test_codes_of_a_network_that_magnifies_them_may_be_as_far_away_as_other_kernels_take_them(
    tmp_path: Path,
) -> None:
    """A text encoder's codes were 27 apart on an Arm board, where 6 were tolerated: it did not start."""
    _, candidate = small_candidate(tmp_path, "cortex-a-tflite")
    rule = candidate.profile.parity
    seen = Parity(
        reference="plan", sample_count=1, max_lsb=20, mean_lsb=2.0, equal_share=0.5, within_one_share=0.75, engine_sqnr_db=9.0,
        plan_sqnr_db=9.0, apart_sqnr_db=15.0, lost_db=0.0, doubt_db=None, within_tolerance=False,
    )  # fmt: skip
    for changed, most, least in (
        ({}, 40, 0.5),
        ({"within_one_share": 0.25}, 40, 0.0),
        ({"max_lsb": None, "within_one_share": None}, rule.max_lsb, 0.0),
        ({"within_tolerance": True}, rule.max_lsb, rule.min_share_within_one),
    ):
        report = dataclasses.replace(
            report_of(candidate, "pass"), parity=dataclasses.replace(seen, **changed)
        )
        made = packed(tmp_path, "cortex-a-tflite", Recipe(method="minmax"), report).manifest.tolerance
        assert (made.max_lsb, made.min_share_within_one) == (most, least)


def candidate_step(folder: Path, target: str) -> tuple[float, ...]:
    model, candidate = small_candidate(folder, target)
    qparams = candidate.plan.tensors[model.outputs[0].name].qparams
    assert qparams is not None
    return qparams.scale


def packed(folder: Path, target: str, recipe: Recipe, report: TargetReport | None = None) -> Artifact:
    model, candidate = small_candidate(folder, target, recipe)
    return pack(
        model,
        candidate.payload,
        candidate.plan,
        report or report_of(candidate, "pass"),
        candidate.profile,
        version="1",
        golden=(),
        recipe=recipe,
        preparation=None,
        made_with={},
    )
