"""Profiles for one conversion: none, twice, unknown; and the package's own names."""

from __future__ import annotations

import pytest

import host_tools
from host_tools.errors import TargetError
from host_tools.target_profiles import load_profile, load_profiles


def test_profiles_come_in_the_order_they_are_named() -> None:
    names = ("x86_64-openvino", "amd-vitis-dpu")
    assert tuple(profile.id for profile in load_profiles(names)) == names


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), r"No target was named\. Add --target ID"),
        (("nxp-neutron", "nxp-neutron"), r"Target 'nxp-neutron' was named twice\. Name each target once"),
        (("nxp-neutron", "nxp-neutrn"), r"unknown target 'nxp-neutrn'.*Did you mean 'nxp-neutron'"),
        (("absent.toml",), r"absent\.toml"),
    ],
)
def test_targets_that_are_none(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(TargetError, match=said):
        load_profiles(names)


def test_an_unknown_target_keeps_its_hint_apart() -> None:
    with pytest.raises(TargetError) as caught:
        load_profile("nothing")
    assert str(caught.value).count(caught.value.hint) == 1


def test_the_package_has_the_names_it_announces_and_no_others() -> None:
    assert all(hasattr(host_tools, name) for name in host_tools.__all__)
    with pytest.raises(AttributeError, match="module 'host_tools' has no attribute 'absent'"):
        _ = host_tools.absent
