"""Switching models keeps nothing: no memory, no file, no thread, no artifact. And how memory of several processes is counted."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

from benchmarks.agent.artifacts import null_artifact
from benchmarks.agent.processes import sample, union
from benchmarks.agent.switching import Switching, growth, renamed
from device_agent.contract.archive import ArtifactArchive
from device_agent.engines.null import NullEngine


def held() -> tuple[int, ...]:
    """What this process holds: artifacts, engines, files and threads."""
    gc.collect()
    objects = gc.get_objects()
    kinds = (ArtifactArchive, NullEngine)
    alive = (sum(type(one) is kind for one in objects) for kind in kinds)
    return (*alive, len(list(Path("/proc/self/fd").iterdir())), threading.active_count())


def test_thirty_switches_leave_nothing_behind(tmp_path: Path) -> None:
    first = null_artifact(tmp_path / "first.ewa", latency_seconds=0.0)
    switching = Switching([first, renamed(first, tmp_path / "other.ewa")])
    try:
        for _ in range(4):
            switching.switch(inferences=10)
        before = held()
        for _ in range(30):
            switching.switch(inferences=10)
        # Less is no fault: what an earlier test left to a thread may end meanwhile.
        assert all(now <= then for now, then in zip(held(), before, strict=True)), (held(), before)
        assert switching.runner.model == ("nothing", "1.0.0", "null")
        assert switching.runner.meter.inferences_total >= 340
    finally:
        switching.close()


def test_growth_is_that_of_the_last_tenth_over_the_first() -> None:
    first, last, share = growth([1.0, *[100.0] * 10, *[150.0] * 80, *[103.0] * 10], warm_up=1)
    assert (first, last) == (100.0, 103.0)
    assert abs(share - 0.03) < 1e-12


def mapping(name: str, *, resident: int, dirty: int) -> str:
    inode = 7 if name else 0
    return f"7f00-7f01 rw-p 00000000 08:01 {inode} {name}\nRss: {resident} kB\nPrivate_Dirty: {dirty} kB\nVmFlags: rd\n"


def test_pages_of_files_are_counted_once_and_all_others_each() -> None:
    library = mapping("/lib/x", resident=8, dirty=2)
    one = library + mapping("", resident=4, dirty=0)  # untouched since a fork, and its own all the same
    other = mapping("/lib/x", resident=20, dirty=1)
    assert union([one]) == 12 * 1024
    assert union([one, other]) == (2 + 4 + 1 + 19) * 1024


def test_alone_is_at_least_the_proportional_share() -> None:
    seen = sample(os.getpid(), mappings=True)
    assert seen.alone is not None
    assert seen.alone >= seen.total > 0
