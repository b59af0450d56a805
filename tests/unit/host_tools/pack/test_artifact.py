"""Packing refuses what must not ship; versions stand in file names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.errors import InputError
from host_tools.pack.artifact import checked_version, pack
from host_tools.recipe import Recipe
from host_tools.verify.verification_report import Agreement, Execution, TargetReport, Verdict
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


@pytest.mark.parametrize("verdict", ["fail", "nonfinite"])
def test_what_did_not_pass_is_not_packed(verdict: Verdict, tmp_path: Path) -> None:
    model, candidate = small_candidate(tmp_path, "cortex-a-tflite")
    report = TargetReport(
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
            preprocessing=None,
            made_with={},
        )
