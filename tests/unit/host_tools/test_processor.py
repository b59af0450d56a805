"""Which targets a processor is suited for, and what is said where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from host_tools.processor import features, is_suited, shortfall, suited
from targets import catalog
from targets.errors import UnknownTargetError

if TYPE_CHECKING:
    from pathlib import Path

AVX2 = frozenset({"fma", "avx2"})


def test_features_are_those_of_the_first_core(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert features(cpuinfo) == {"fpu", "avx2", "avx512_vnni"}


@pytest.mark.parametrize("content", [None, b"", b"processor : 0\nFeatures : fp asimd\n", b"flags : \xff\n"])
def test_a_processor_that_does_not_say_is_taken_to_do(content: bytes | None, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_bytes(content)
    assert features(cpuinfo) is None


def test_openvino_needs_vnni_and_names_the_target_for_processors_without() -> None:
    profile = catalog.load("x86_64-openvino")
    for vnni in ("avx_vnni", "avx512_vnni"):
        assert is_suited(profile, AVX2 | {vnni})
        assert shortfall(profile, AVX2 | {vnni}) is None
    assert suited("x86_64-openvino", AVX2) == "x86_64-openvino-avx2"
    told = shortfall(profile, AVX2)
    assert told is not None
    assert "none of avx512_vnni, avx_vnni" in told
    assert "convert for x86_64-openvino-avx2" in told


def test_seven_bits_are_right_on_every_processor() -> None:
    assert suited("x86_64-openvino-avx2", frozenset()) == "x86_64-openvino-avx2"


def test_where_there_is_no_other_target_it_is_verified_elsewhere() -> None:
    told = shortfall(catalog.load("intel-npu-openvino"), AVX2)
    assert told is not None
    assert "verify it on a processor that has one" in told
    assert suited("intel-npu-openvino", AVX2) == "intel-npu-openvino"


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UnknownTargetError, match="x86_65"):
        suited("x86_65-openvino", AVX2)


def test_every_other_target_is_in_the_catalogue() -> None:
    for name in catalog.ids():
        otherwise = catalog.load(name).engine.otherwise
        assert not otherwise or is_suited(catalog.load(otherwise), frozenset())
