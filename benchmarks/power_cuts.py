"""Power cuts in updates on a virtual board, in as many sittings as it takes; what they showed goes into docs/hil.md.

    python -m benchmarks.power_cuts --minutes 40        as many of the hundred; the same again goes on where that ended
    python -m benchmarks.power_cuts --sitting 10        ten of them
    python -m benchmarks.power_cuts --write-docs        the rest of them, and the figures into docs/hil.md
    python -m benchmarks.power_cuts --sitting 0         none; what earlier sittings showed

Each sitting is a session of the suite `test_power_cuts`, with a disk of its own. Every cut is on this machine's disk before the next
one begins, so a sitting may be broken off at any moment: the cut that was underway is counted as broken off, and made again. The board
has to be built (`edgewright hil board build x86_64`, as root, once); `make hil-cuts` does that too. Exit status: 0 all cuts were made
and each ended well; 1 one of them did not, or the suite failed or was skipped; 3 some are still to be made; 130 interrupted; else as `edgewright`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.marked import write_marked
from benchmarks.power_cuts_figures import MARK, document_of, markdown_of
from device_agent.contract.errors import EdgewrightError
from hil.artifact import open_artifact
from hil.board import load_board
from hil.gate.plan import Run
from hil.gate.session import SuiteOptions, run_session
from hil.null_artifact import write_null_artifact
from hil.suites.cut_record import CutRecord
from host_tools.cli.arguments import above_zero, count
from host_tools.cli.main import exit_status
from host_tools.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.contract.archive import ArtifactArchive

DOCUMENT = Path(__file__).parents[1] / "docs" / "hil.md"
_SOME_ARE_LEFT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Make cuts, tell what all of the record showed; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return run(options)
    except EdgewrightError as error:
        print(f"power_cuts: {error}", file=sys.stderr)
        return exit_status(error)
    except OSError as error:
        print(f"power_cuts: {error.filename or 'output'}: {error.strerror or error}.", file=sys.stderr)
        return exit_status(OutputError(""))
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status.

    Raises:
        BoardError: There is no such board.
        InputError: The record is of another board, or damaged.
        RigError: The rig broke: what was recorded before is there.
        OutputError: The record cannot be read or written.
        OSError: Another file cannot be written.
    """
    board = load_board(options.rig)
    path = options.work / f"{board.name}.jsonl"
    record = CutRecord(path)
    wanted = min(
        options.cuts, len(record.cuts) + (options.cuts if options.sitting is None else options.sitting)
    )
    is_sound = True
    if len(record.cuts) < wanted:
        suites = SuiteOptions(
            suites=("power_cuts",),
            soak_seconds=1.0,
            cuts=wanted,
            cuts_record=path.resolve(),
            cuts_minutes=options.minutes,
        )
        is_sound = _sit(Run(rig=options.rig, board=board, archive=_artifact(options.work)), suites, options)
        record = CutRecord(path)
    if not record.cuts:
        print("No cut was made yet.", file=sys.stderr)
        return _SOME_ARE_LEFT if is_sound else 1
    text = markdown_of(record)
    print(text, end="")
    if options.json:
        options.json.write_text(json.dumps(document_of(record), indent=2), encoding="utf-8")
    if options.write_docs:
        write_marked(DOCUMENT, MARK, text)
    if not is_sound or any(cut.outcome != "kept" for cut in record.cuts):
        return 1
    return 0 if len(record.cuts) >= options.cuts else _SOME_ARE_LEFT


def _artifact(folder: Path) -> ArtifactArchive:
    """Write the artifact that every update is a version of: without an inference library, for what is tested is the update."""
    write_null_artifact(folder / "nothing.ewa")
    return open_artifact(folder / "nothing.ewa")


def _sit(run: Run, suites: SuiteOptions, options: argparse.Namespace) -> bool:
    """Run the suite; say whether it passed, and on standard error why not."""
    progress = _Progress(options.work / f"{run.board.name}.jsonl", options.cuts)
    results = run_session(run, suites, options.work, look=progress.look)
    progress.look()
    for test in results.tests:
        if test.outcome != "passed":
            print(f"{test.name}: {test.outcome}: {test.reason}", file=sys.stderr)
    return all(test.outcome == "passed" for test in results.tests)


class _Progress:
    """Tells every cut as it ends, and about how long the rest takes.

    Args:
        path: The record.
        of_all: How many cuts there shall be.
    """

    def __init__(self, path: Path, of_all: int) -> None:
        self._path = path
        self._of_all = of_all
        self._told = len(CutRecord(path).cuts)
        self._began = time.monotonic()
        self._made = 0

    def look(self) -> None:
        """Tell what has ended since the last look."""
        for cut in CutRecord(self._path).cuts[self._told :]:
            self._told += 1
            self._made += 1
            rest = (time.monotonic() - self._began) / self._made * (self._of_all - cut.number)
            what = cut.reason or f"kept, {cut.recovery_seconds:.1f} s after the cut"
            left = f"; about {rest / 60:.0f} min to go" if rest else ""
            told = f"cut {cut.number} of {self._of_all}, at {cut.step}: {what}{left}"
            print(told, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.power_cuts",
        description=lines[0],
        epilog="\n".join(["examples:", *lines[2:6], "", *lines[7:]]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rig", default="qemu-x86_64", metavar="NAME|FILE", help="the board (default: qemu-x86_64)"
    )
    parser.add_argument("--cuts", type=count, default=100, metavar="N", help="of all sittings (default: 100)")
    parser.add_argument(
        "--sitting",
        type=_count_or_none,
        metavar="N",
        help="cuts of this sitting at most (default: all that are left)",
    )
    parser.add_argument(
        "--minutes",
        type=above_zero,
        metavar="M",
        help="begin no cut that would not end in so long, by the longest one so far; the first of a sitting is always made",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/power-cuts"),
        metavar="FOLDER",
        help="keeps the record, BOARD.jsonl, and the last sitting's page (default: out/power-cuts)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and cuts there")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/hil.md")
    return parser


def _count_or_none(text: str) -> int:
    """Read a whole number of at least 0, for argparse."""
    return 0 if text == "0" else count(text)


if __name__ == "__main__":
    sys.exit(main())
