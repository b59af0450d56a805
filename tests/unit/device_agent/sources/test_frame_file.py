"""Files of frames: what is too large, absent or no regular file is one kind of error, whatever the file should have been."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from device_agent.sources.adapt import FrameError
from device_agent.sources.frame_file import read_frame_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_read_up_to_the_most_that_a_frame_may_have(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    assert read_frame_file(path, what="a text", most_bytes=5) == b"12345"
    with pytest.raises(FrameError, match=r"^a\.txt: expected a text of at most 4 bytes, got more\.$"):
        read_frame_file(path, what="a text", most_bytes=4)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"^b\.wav: cannot be read: No such file or directory\.$"):
        read_frame_file(tmp_path / "b.wav", what="a recording")
    with pytest.raises(FrameError, match="cannot be read: Is a directory"):
        read_frame_file(tmp_path, what="an .npy")
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(FrameError, match="cannot be read: expected a regular file, found a named pipe"):
        read_frame_file(tmp_path / "pipe.npy", what="an .npy")
