"""Frames from a folder and from an ``.npz``: in order, in a loop, and what cannot be read counted and reported."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from device_agent.contract.errors import DeviceError
from device_agent.sources.directory import PICTURE_SUFFIXES, DirectorySource
from device_agent.sources.replay import ReplaySource
from device_agent.sources.source import SourceEnded
from tests.unit.device_agent.sources.payload_tensors import PICTURE, PREPROCESSING, tensor

if TYPE_CHECKING:
    from device_agent.contract.manifest import PayloadTensor, Preprocessing
    from device_agent.sources.source import Frame, Source

CODES = tensor((1, 4), "int8", scale=0.5, zero_point=0)


class Watched:
    """A source and what it reported."""

    def __init__(self, source: Source, said: list[str]) -> None:
        self.source, self.said = source, said

    def take(self, count: int) -> list[Frame | None]:
        return [self.source.next(0.0) for _ in range(count)]

    def ids(self, count: int) -> list[str | None]:
        return [None if frame is None else frame.id for frame in self.take(count)]


def folder_source(
    folder: Path,
    payload: PayloadTensor = CODES,
    preprocessing: Preprocessing | None = None,
    *,
    loop: bool = False,
) -> Watched:
    said: list[str] = []
    return Watched(DirectorySource(folder, [payload], preprocessing, loop=loop, on_refused=said.append), said)


def replay_source(path: Path, *tensors: PayloadTensor, loop: bool = False) -> Watched:
    said: list[str] = []
    return Watched(ReplaySource(path, tensors or (CODES,), loop=loop, on_refused=said.append), said)


def save(folder: Path, **arrays: object) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


# --- a folder ---


def test_a_file_that_is_changed_or_gone_or_new_is_so_in_the_next_pass(tmp_path: Path) -> None:
    save(tmp_path, a=[0.5, 0, 0, 0], b=[1.0, 0, 0, 0])
    watched = folder_source(tmp_path, loop=True)
    assert watched.ids(2) == ["a.npy", "b.npy"]
    (tmp_path / "b.npy").unlink()
    save(tmp_path, a=[2.0, 0, 0, 0], c=[3.0, 0, 0, 0])
    again = watched.take(2)
    assert [(frame.id, frame.inputs[0].tolist()) for frame in again] == [
        ("a.npy", [[4, 0, 0, 0]]),
        ("c.npy", [[6, 0, 0, 0]]),
    ]
    (tmp_path / "a.npy").rename(tmp_path / "new.npy")
    (tmp_path / "new.npy").replace(tmp_path / "c.npy")
    (changed,) = watched.take(1)
    assert (changed.id, changed.inputs[0].tolist()) == ("c.npy", [[4, 0, 0, 0]])


def test_a_loop_over_a_folder_that_was_emptied_ends(tmp_path: Path) -> None:
    save(tmp_path, a=[0.5, 0, 0, 0])
    watched = folder_source(tmp_path, loop=True)
    assert watched.ids(2) == ["a.npy", "a.npy"]
    (tmp_path / "a.npy").unlink()
    with pytest.raises(SourceEnded):
        watched.source.next(0.0)


def test_a_loop_over_a_folder_that_was_removed_says_so(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    save(tmp_path / "frames", a=[0.5, 0, 0, 0])
    watched = folder_source(tmp_path / "frames", loop=True)
    assert watched.ids(1) == ["a.npy"]
    (tmp_path / "frames" / "a.npy").unlink()
    (tmp_path / "frames").rmdir()
    with pytest.raises(DeviceError, match="frames: cannot be read: No such file"):
        watched.source.next(0.0)


def test_names_that_are_not_utf_8_become_printable(tmp_path: Path) -> None:
    save(tmp_path, good=[0.5, 0, 0, 0])
    (tmp_path / "good.npy").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.npy"))
    (tmp_path / "x").write_bytes(b"no array")
    (tmp_path / "x").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.npy"))
    watched = folder_source(tmp_path)
    assert watched.ids(2) == [None, "\\udcff.npy"]
    assert watched.said[0].startswith("\\udcfe.npy: not an .npy")


def test_files_come_in_the_order_of_their_names_and_then_it_ends(tmp_path: Path) -> None:
    save(tmp_path, b=[1.0, 0, 0, 0], a=[0.5, 0, 0, 0], c=[[1.5, 0, 0, 0]])
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / "folder.npy").mkdir()
    watched = folder_source(tmp_path)
    frames = watched.take(3)
    assert [frame.id for frame in frames] == ["a.npy", "b.npy", "c.npy"]
    assert [frame.inputs[0].tolist() for frame in frames] == [[[1, 0, 0, 0]], [[2, 0, 0, 0]], [[3, 0, 0, 0]]]
    for _ in range(2):
        with pytest.raises(SourceEnded):
            watched.source.next(0.0)
    assert (watched.source.refused, watched.source.dropped, watched.said) == (0, 0, [])


def test_a_loop_begins_again_and_gives_the_same(tmp_path: Path) -> None:
    save(tmp_path, a=[0.5, 0, 0, 0], b=[1.0, 0, 0, 0])
    watched = folder_source(tmp_path, loop=True)
    frames = watched.take(5)
    assert [frame.id for frame in frames] == ["a.npy", "b.npy"] * 2 + ["a.npy"]
    assert frames[4] is frames[0], "decoded once, kept"


def test_a_loop_over_more_files_than_are_kept_reads_the_others_again(tmp_path: Path) -> None:
    save(tmp_path, **{f"f{index:03}": np.full((1, 4), index / 2) for index in range(70)})
    watched = folder_source(tmp_path, loop=True)
    first, second = watched.take(70), watched.take(70)
    assert [frame.inputs[0][0, 0] for frame in first] == list(range(70))
    for once, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(once.inputs[0], again.inputs[0])
    assert sum(once is again for once, again in zip(first, second, strict=True)) == 64


def test_files_that_cannot_be_read_are_counted_reported_and_left_out(tmp_path: Path) -> None:
    save(tmp_path, a=[1.0, 0, 0, 0], b=[1.0, 0], c=[np.nan, 0, 0, 0], d=[1.0, 2, 3, 4])
    (tmp_path / "e.npy").write_bytes(b"no array")
    (tmp_path / "f.npy").write_bytes(b"")
    watched = folder_source(tmp_path, loop=True)
    assert watched.ids(7) == ["a.npy", None, None, "d.npy", None, None, "a.npy"]
    assert watched.source.refused == 4
    shapes, nan, garbage, empty = watched.said
    assert shapes.startswith("b.npy: ")
    assert nan.startswith("c.npy: ")
    assert "expected shape (1, 4), got (2,)" in shapes
    assert "NaN or infinite" in nan
    assert "e.npy: not an .npy" in garbage
    assert "f.npy: not an .npy" in empty


def test_a_file_that_goes_away_is_counted(tmp_path: Path) -> None:
    save(tmp_path, a=[1.0, 0, 0, 0], b=[1.0, 0, 0, 0])
    watched = folder_source(tmp_path)
    (tmp_path / "b.npy").unlink()
    assert watched.ids(2) == ["a.npy", None]
    assert "b.npy: cannot be read: No such file" in watched.said[0]


def test_a_loop_over_nothing_but_unreadable_files_ends(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"x")
    watched = folder_source(tmp_path, loop=True)
    assert watched.ids(1) == [None]
    with pytest.raises(SourceEnded):
        watched.source.next(0.0)


def test_unreadable_files_need_no_listener(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"x")
    source = DirectorySource(tmp_path, [CODES], None, loop=False)
    assert source.next(0.0) is None
    assert source.refused == 1


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_pictures_are_prepared(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (30, 20), (255, 0, 0)).save(tmp_path / f"a{suffix.upper()}")
    watched = folder_source(tmp_path, PICTURE, PREPROCESSING)
    (frame,) = watched.take(1)
    assert frame.inputs[0].shape == (1, 3, 2, 3)
    np.testing.assert_allclose(frame.inputs[0][0, :, 1, 1], [255, 0, 0], atol=3)


def test_a_picture_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (3, 2)).save(tmp_path / "b.png")
    watched = folder_source(tmp_path, PICTURE, PREPROCESSING)
    assert watched.ids(2) == [None, "b.png"]
    assert "a.png: not a picture" in watched.said[0]


def test_a_pickle_under_the_name_npy_is_refused_and_not_run(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    watched = folder_source(tmp_path)
    assert watched.ids(1) == [None]
    assert "expected numbers, got object" in watched.said[0]


def test_folders_that_give_no_frame_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no picture, no \.wav and no \.npy file in it"):
        folder_source(tmp_path)
    with pytest.raises(DeviceError, match=r"absent: cannot be read: No such file.*Is source\.path right\?"):
        folder_source(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceError, match="cannot be read: Not a directory"):
        folder_source(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(DeviceError, match=r"no picture, no \.wav and no \.npy file in it"):
        folder_source(tmp_path)


def test_pictures_without_preprocessing_and_models_of_two_inputs_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(DeviceError, match="does not say how to prepare them"):
        folder_source(tmp_path, PICTURE)
    with pytest.raises(DeviceError, match=r"a file is one input, but the model has x, ids\. Use an \.npz\."):
        DirectorySource(tmp_path, [PICTURE, tensor((1,), "int64", name="ids")], PREPROCESSING, loop=False)


def test_a_closed_source_has_ended(tmp_path: Path) -> None:
    save(tmp_path, a=[1.0, 0, 0, 0])
    np.savez(tmp_path / "r.npz", x=np.zeros((2, 4)))
    for watched in (folder_source(tmp_path, loop=True), replay_source(tmp_path / "r.npz", loop=True)):
        watched.take(1)
        watched.source.close()
        watched.source.close()
        with pytest.raises(SourceEnded):
            watched.source.next(0.0)


# --- an .npz ---


def test_samples_come_in_order_and_then_it_ends(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.arange(8).reshape(2, 4) / 2, surplus=np.zeros(3))
    watched = replay_source(tmp_path / "r.npz")
    frames = watched.take(2)
    assert [(frame.id, frame.inputs[0].tolist()) for frame in frames] == [
        ("0", [[0, 1, 2, 3]]),
        ("1", [[4, 5, 6, 7]]),
    ]
    with pytest.raises(SourceEnded):
        watched.source.next(0.0)


def test_a_replay_in_a_loop_leaves_out_what_has_no_code(tmp_path: Path) -> None:
    values = np.zeros((3, 1, 4), np.float32)
    values[1, 0, 2] = np.inf
    np.savez_compressed(tmp_path / "r.npz", x=values)
    watched = replay_source(tmp_path / "r.npz", loop=True)
    assert watched.ids(6) == ["0", None, "2"] * 2
    assert watched.source.refused == 2
    assert watched.said == ["r.npz: sample 1: input 'x': values that are NaN or infinite have no code."] * 2


def test_a_replay_of_nothing_but_nan_ends(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.full((2, 4), np.nan))
    watched = replay_source(tmp_path / "r.npz", loop=True)
    assert watched.ids(2) == [None, None]
    with pytest.raises(SourceEnded):
        watched.source.next(0.0)


def test_several_inputs_are_taken_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.ones((2, 4)), ids=np.array([[3], [5]]))
    watched = replay_source(tmp_path / "r.npz", tensor((1,), "int32", name="ids"), CODES)
    assert [[array.tolist() for array in frame.inputs] for frame in watched.take(2)] == [
        [[3], [[2, 2, 2, 2]]],
        [[5], [[2, 2, 2, 2]]],
    ]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros((2, 4))}, r"no array 'x'; there are y\."),
        ({}, r"no array 'x'; there are none\."),
        ({"x": np.zeros((2, 5))}, r"'x': expected samples of shape \(1, 4\), got \(5,\)"),
        ({"x": np.zeros((2, 4, 1))}, r"expected samples of shape \(1, 4\), got \(4, 1\)"),
        ({"x": np.zeros((0, 4))}, "at least 1"),
        ({"x": np.float64(1)}, "at least 1"),
        ({"x": np.array([{"a": 1}], dtype=object)}, "Object arrays cannot be loaded"),
    ],
    ids=["other key", "no key", "long", "deep", "no sample", "scalar", "pickle"],
)
def test_an_npz_that_does_not_fit_is_refused_at_once(
    tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(DeviceError, match=rf"r\.npz: .*{words}"):
        replay_source(tmp_path / "r.npz")


def test_inputs_of_different_length_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.zeros((2, 4)), ids=np.zeros((3, 1), np.int64))
    with pytest.raises(DeviceError, match=r"expected the same number of samples.*'x': 2, 'ids': 3"):
        replay_source(tmp_path / "r.npz", CODES, tensor((1,), "int64", name="ids"))


def test_texts_instead_of_numbers_are_counted_as_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.full((1, 4), "a"))
    watched = replay_source(tmp_path / "r.npz")
    assert watched.ids(1) == [None]
    assert "expected numbers, got <U1" in watched.said[0]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + b"\0" * 40, b"\x93NUMPY\x01\0"])
def test_files_that_are_no_npz_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(DeviceError, match=r"r\.npz: "):
        replay_source(tmp_path / "r.npz")


def test_an_npy_under_the_name_npz_and_an_absent_file(tmp_path: Path) -> None:
    np.save(tmp_path / "r.npy", np.zeros((2, 4)))
    with pytest.raises(DeviceError, match=r"r\.npy: one array, not an \.npz"):
        replay_source(tmp_path / "r.npy")
    with pytest.raises(DeviceError, match=r"absent\.npz: cannot be read: No such file"):
        replay_source(tmp_path / "absent.npz")


def test_a_cut_npz_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "r.npz", x=np.random.default_rng(1).normal(size=(20, 4)))
    data = (tmp_path / "r.npz").read_bytes()
    for length in range(0, len(data), 29):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(DeviceError, match=r"cut\.npz: "):
            replay_source(tmp_path / "cut.npz")
