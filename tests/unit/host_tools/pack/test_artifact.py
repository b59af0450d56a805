"""Packing refuses what must not ship; versions stand in file names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.errors import InputError
from host_tools.pack.artifact import checked_version


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
