"""`python -m tests.conformance`: run every node test and hold it against the record; ``--write`` makes record and document anew."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.conformance import document, record
from tests.conformance.running import TARGETS
from tests.conformance.shares import run_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.node_tests import NodeTest
    from tests.conformance.running import Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests; returns 1 when one fails, or differs from the record that is not written anew."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write outcomes.tsv and docs/operators.md anew")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only tests whose name has it; tells every outcome"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args(arguments)
    if options.write and options.only:
        parser.error("--write needs all tests")
    began = time.monotonic()
    known = record.read() if record.FILE.exists() else {}
    lines, failures, different = [], [], []
    counts = {format_: Counter[str]() for format_ in TARGETS}
    for _, test, outcomes in _run(max(1, options.processes), options.only):
        by_format = dict(zip(TARGETS, outcomes, strict=True))
        for name, one in by_format.items():
            counts[name][one.kind] += 1
        failed = [
            f"{test.id} {name}: {one.reason}" for name, one in by_format.items() if one.kind == "failed"
        ]
        failures += failed
        if not failed:
            lines.append(record.line_of(test, outcomes))
            different += [test.id] if known.get(test.id) != lines[-1] else []
        if options.only:
            _say(
                f"{test.id}: "
                + "; ".join(f"{name} {one.kind} {one.reason}" for name, one in by_format.items())
            )
    _say(f"{sum(counts['tflite'].values())} tests in {time.monotonic() - began:.0f} s")
    for format_, kinds in counts.items():
        _say(f"{format_}: " + ", ".join(f"{kinds[kind]} {kind}" for kind in ("passed", "refused", "failed")))
    for failure in failures:
        _say(f"FAILED {failure}")
    if options.write and not failures:
        record.write(lines)
        document.FILE.write_text(document.text(), encoding="utf-8")
        return 0
    if not options.write and not options.only:
        for name in different:
            _say(f"DIFFERENT from the record: {name}")
    return 1 if failures or (different and not options.only) else 0


def _run(processes: int, only: str) -> list[tuple[int, NodeTest, list[Outcome]]]:
    """Run the tests, dealt out to processes; in the package's order."""
    if processes == 1:
        return run_share(0, 1, only)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = pool.map(run_share, range(processes), [processes] * processes, [only] * processes)
        return sorted((one for part in parts for one in part), key=lambda one: one[0])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
