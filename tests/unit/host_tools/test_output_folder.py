"""The output folder: whole files or none, one run at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from host_tools.errors import OutputError
from host_tools.output_folder import open_output_folder


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    with open_output_folder(tmp_path / "a" / "b") as folder:
        path = folder.write("sub/model.onnx", b"abc")
    assert path.read_bytes() == b"abc"
    assert visible(tmp_path / "a" / "b") == ["sub"]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    def fail(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise failure

    with open_output_folder(tmp_path) as folder:
        folder.write("report.json", b"old")
        expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            folder.write_with("report.json", fail)
    assert (tmp_path / "report.json").read_bytes() == b"old"
    assert visible(tmp_path) == ["report.json"]


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, name: str) -> None:
    """As root, `--html /dev/null` would leave the machine without one."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with (
        open_output_folder(tmp_path) as folder,
        pytest.raises(OutputError, match=f"{name}: this is no file but a device, a pipe or a socket"),
    ):
        folder.write(name, b"report")
    assert (tmp_path / name).is_fifo()
    assert visible(tmp_path) == ["link", "pipe"]


def test_a_full_disk_says_what_to_do() -> None:
    """/dev/full is the kernel's own full disk."""

    def fill(stream: BinaryIO) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(stream.name.encode() if isinstance(stream.name, str) else b"x")

    with open_output_folder(
        Path(os.environ.get("TMPDIR", "/tmp")) / f"edgewright-full-{os.getpid()}"
    ) as folder:
        with pytest.raises(OutputError, match=r"No space left on device.*Free some space"):
            folder.write_with("model.onnx", fill)
        left = visible(folder.path)
    folder.path.rmdir()
    assert left == [".edgewright.lock"]


def test_two_runs_into_one_folder_are_refused(tmp_path: Path) -> None:
    other = "import sys; from pathlib import Path; from host_tools.output_folder import open_output_folder\n"
    other += "with open_output_folder(Path(sys.argv[1])): pass"
    with open_output_folder(tmp_path):
        run = subprocess.run(
            [sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert run.returncode != 0
    assert "another run is writing here" in run.stderr
    again = subprocess.run(
        [sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr


def test_a_second_run_is_told_which_folder_is_taken(tmp_path: Path) -> None:
    with (
        open_output_folder(tmp_path),
        pytest.raises(OutputError, match=f"^{tmp_path}: another run is writing here\\. Wait for it to end"),
        open_output_folder(tmp_path),
    ):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="choose another --out"), open_output_folder(tmp_path / "out"):
        pass


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "out" / "old.ewa").mkdir(parents=True)
    with open_output_folder(tmp_path / "out") as folder:
        folder.remove("absent.ewa")
        with pytest.raises(OutputError, match=r"out/old\.ewa: Is a directory"):
            folder.remove("old.ewa")
