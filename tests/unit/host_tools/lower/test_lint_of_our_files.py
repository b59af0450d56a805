"""Whatever we write for a target, the linter finds nothing in it against that target but what the plan itself has in float."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from lowering_cases import CASES, DETECTOR, TWO_ENDS, Case
from lowering_template import prepare

from host_tools.lint.reading import read
from host_tools.lint.rules import check, precisions
from host_tools.lower.lowering import lower
from host_tools.plan.planner import plan as make_plan
from host_tools.recipe import Recipe
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = {target: catalog.load(target) for target in catalog.ids()}


@pytest.mark.parametrize("case", [*CASES, TWO_ENDS, DETECTOR], ids=lambda case: case.name)
def test_is_clean_for_its_target(case: Case, tmp_path: Path) -> None:
    first = prepare(case, tmp_path, PROFILES["cortex-a-tflite"])
    for target, profile in PROFILES.items():
        plan = make_plan(first.model, first.statistics, profile, Recipe(method="minmax"))
        folder = tmp_path / target
        folder.mkdir()
        payload = lower(first.model, plan, profile)
        for name, content in payload.files.items():
            (folder / name).write_bytes(content)
        file = read(folder / next(iter(payload.files)))
        findings = check(file, profile)
        assert not [one for one in findings if one.severity == "error"], (target, findings)
        in_float = {node.op_type for node in plan.nodes.values() if node.precision == "float32"}
        rules = {one.rule for one in findings}
        # What works on codes in one scale only cannot be written so where the plan gives it two.
        two_scales = profile.artifact.integer_ops - profile.same_scale
        assert bool(rules - {"form"}) == bool(in_float), (target, findings)
        assert rules <= {"falls-back", "could-be-integer"} | ({"form"} if two_scales else set())
        in_integers = any(node.precision == "int8" for node in plan.nodes.values())
        assert ("int8" in precisions(file, profile)) == in_integers, target
        # The bounds of a file written for one target are not those of another: the same file, held against less, is not clean.
        less = dataclasses.replace(profile, ops={}, fusions=())
        assert any(one.fact == "ops" for one in check(file, less)), target
