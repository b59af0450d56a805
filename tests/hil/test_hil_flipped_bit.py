"""One bit of a file on the board is flipped in its place, or it is said why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.errors import RigError
from hil.flipped_bit import flip_bit
from hil.rig import open_rig
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    opened = open_rig("local", tmp_path / "rig")
    yield opened
    opened.close()


@pytest.mark.parametrize(("share", "place"), [(0.0, 0), (0.5, 50), (0.98, 98), (1.0, 100)])
def test_one_bit_changes_and_nothing_else(rig: Rig, tmp_path: Path, share: float, place: int) -> None:
    file, data = tmp_path / "a file", bytes(range(101))
    file.write_bytes(data)
    number = file.stat().st_ino
    assert flip_bit(rig, str(file), share=share) == place
    found = file.read_bytes()
    assert found == data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert file.stat().st_ino == number, "in its place"
    flip_bit(rig, str(file), share=share)
    assert file.read_bytes() == data


def test_where_no_bit_can_be_flipped_the_reason_is_told(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(RigError, match=r"none: no bit of it can be flipped: .*No such file"):
        flip_bit(rig, str(tmp_path / "none"), share=0.5)
    with pytest.raises(RigError, match="empty: no bit of it can be flipped"):
        flip_bit(rig, str(tmp_path / "empty"), share=0.5)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="share: expected 0 to 1, got"):
            flip_bit(rig, str(tmp_path / "empty"), share=share)
