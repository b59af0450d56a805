"""Whether a child gets a processor: what the kernel says of it, and what this is taken for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_agent.update.starvation import is_starved, waited_seconds


@pytest.mark.parametrize(
    ("ran_seconds", "waiting_seconds", "expected"),
    [
        (0.14, 10.0, True),  # a seventieth: niceness 19 beside 0
        (5.9, 300.0, True),  # as seen on a virtual board
        (0.09, 9.9, False),  # not for long yet
        (1.2, 10.0, False),  # a ninth
        (3.4, 10.0, False),  # a quarter: niceness 5 beside 0
        (40.0, 10.0, False),
        (0.1, 0.0, False),  # it sleeps: a network that is slow
    ],
)
def test_a_process_is_starved_when_it_waits_long_and_hardly_ever_runs(
    tmp_path: Path, ran_seconds: float, waiting_seconds: float, expected: bool
) -> None:
    (tmp_path / "7").mkdir()
    text = f"{round(ran_seconds * 1e9)} {round(waiting_seconds * 1e9)} 12\n"
    (tmp_path / "7" / "schedstat").write_text(text)
    assert is_starved(7, proc=tmp_path) is expected
    assert waited_seconds(7, proc=tmp_path) == pytest.approx(waiting_seconds)


@pytest.mark.parametrize("text", ["", "1\n", "a b c\n", "\x00", "0 0 0\n"])
def test_where_the_kernel_does_not_say_nothing_is_starved(tmp_path: Path, text: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "schedstat").write_text(text)
    assert not is_starved(7, proc=tmp_path)
    assert not is_starved(8, proc=tmp_path), "a process that is gone"
    assert waited_seconds(7, proc=tmp_path) == waited_seconds(8, proc=tmp_path) == 0.0


def test_what_the_kernel_says_of_a_process_that_waits_for_another_on_one_processor() -> None:
    """Two that never rest on one processor, each half of the time: read from the real file, in its real unit."""
    busy = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    both = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2)]
    try:
        time.sleep(3.0)
        told = [Path(f"/proc/{each.pid}/schedstat").read_text() for each in both]
        fields = [[int(one) for one in text.split()] for text in told]
        if not any(fields[0]):
            pytest.fail("this kernel keeps no schedstat: CONFIG_SCHED_INFO is off")
        assert sum(ran for ran, _, _ in fields) <= 4e9, "nanoseconds"
        assert min(waited for _, waited, _ in fields) >= 0.3e9
        assert not is_starved(both[0].pid)
    finally:
        for each in both:
            each.kill()
            each.wait()
