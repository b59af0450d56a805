"""Refused frames in the log: each of the first few of a window, and the last one for its event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.refused_frames import RefusedFrames

if TYPE_CHECKING:
    import pytest


def test_the_first_frames_of_a_window_are_logged_and_the_last_one_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = RefusedFrames()
    for number in range(20):
        refused(f"{number}.npy: no array")
    assert [record.getMessage() for record in caplog.records] == [
        *(f"a frame was refused: {number}.npy: no array" for number in range(5)),
        "further refused frames are only counted until the window ends",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert refused.close_window() == "19.npy: no array"
    caplog.clear()
    refused("again.npy: no array")
    assert [record.getMessage() for record in caplog.records] == ["a frame was refused: again.npy: no array"]
