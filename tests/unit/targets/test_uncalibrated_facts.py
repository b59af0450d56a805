"""What profiles say of precisions that need no calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from targets import catalog
from targets.errors import ProfileError
from targets.profile import CLUSTERED, GROUPED

if TYPE_CHECKING:
    from targets.profile import PlanPrecision

HAVING = {
    "aarch64-onnxruntime": (32, 32),
    "cortex-a-tflite": (0, 0),
    "x86_64-onnxruntime": (32, 32),
    "x86_64-onnxruntime-avx2": (32, 32),
    "x86_64-openvino": (32, 0),
    "x86_64-openvino-avx2": (32, 0),
}
"""The group that weights-int4 and weights-int8 take when none is asked for; 0 is a whole channel."""


def test_only_engines_on_cpus_have_them() -> None:
    found = {
        name: (profile.uncalibrated["weights-int4"].groups[0], profile.uncalibrated["weights-int8"].groups[0])
        for name in catalog.ids()
        if (profile := catalog.load(name)).uncalibrated
    }
    assert found == HAVING


@pytest.mark.parametrize("name", sorted(HAVING))
def test_products_are_had_in_each(name: str) -> None:
    for precision, rules in catalog.load(name).uncalibrated.items():
        assert {"Gemm", "MatMul"} <= rules.ops
        assert rules.symmetric == (precision != "weights-int4")
        assert bool(rules.groups) == (precision in (*GROUPED, "int8-dynamic"))
    assert "weights-float16" in catalog.load(name).uncalibrated
    assert set(CLUSTERED).isdisjoint(catalog.load(name).uncalibrated) == (name == "cortex-a-tflite")


def profile(facts: str, section: str = "weights-int4") -> str:
    return (
        'id = "mine"\ntitle = "Mine"\nproof = "document"\nbased_on = "x86_64-onnxruntime"\n'
        f'[sources]\nown = "a document"\n[{section}]\n{facts}\n'
    )


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ('groups = { is = [-1], source = "own" }', r"groups: expected whole numbers from 0 to 65536, each once, got \[-1\]"),
        ('groups = { is = [], source = "own" }', "each once"),
        ('groups = { is = [16, 16], source = "own" }', "each once"),
        ('groups = { is = 16, source = "own" }', "expected a list of group sizes, got 16"),
        ('ops = { is = ["Gathr"], source = "own" }', 'unknown operator "Gathr"'),
        ('symmetric = { is = 1, source = "own" }', "expected true or false, got 1"),
        ('partial_group = { is = "no", source = "own" }', "expected true or false"),
        ('min_versions = { is = { onnxruntime = 1 }, source = "own" }', "expected numbers and dots"),
        ('bits = { is = 4, source = "own" }', "unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_fact_is_named(facts: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        catalog.parse(profile(facts), origin="mine.toml")


def test_a_target_can_do_without_what_its_base_has() -> None:
    own = catalog.parse(profile('ops = { is = "none", source = "own" }'), origin="mine.toml")
    assert set(own.uncalibrated) == {"int8-dynamic", "weights-int8", "weights-float16", *CLUSTERED}


@pytest.mark.parametrize("section", ["weights-float16", *CLUSTERED])
def test_what_is_stored_without_codes_has_no_scales(section: PlanPrecision) -> None:
    with pytest.raises(ProfileError, match="unknown key"):
        catalog.parse(profile('groups = { is = [32], source = "own" }', section), origin="mine.toml")
    fewer = profile('ops = { is = ["Conv"], source = "own" }', section)
    rules = catalog.parse(fewer, origin="mine.toml").uncalibrated[section]
    assert (rules.ops, rules.groups) == (frozenset({"Conv"}), ())
