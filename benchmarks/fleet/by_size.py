"""What benchmarks that measure one thing at several sizes of a fleet share: their command line, their clock, what becomes of their figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.marked import write_marked
from host_tools.fleet.simulation.fixtures import BEGIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZES: Final = (1_000, 10_000, 100_000)


class Clock:
    """A server's clock, moved by hand; it begins where the fixtures do."""

    seconds = BEGIN

    def __call__(self) -> float:
        """Return Unix seconds."""
        return self.seconds


def parser_by_size(description: str, *, document: Path) -> argparse.ArgumentParser:
    """Return a command line with sizes, and where figures go."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="how many devices")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into docs/{document.name}")
    return parser


def tell(
    figures: Sequence[object] | Mapping[int, object],
    table: str,
    options: argparse.Namespace,
    *,
    document: Path,
    mark: str,
) -> None:
    """Print the table, and write figures and table where the command line says so.

    Raises:
        OSError: A file cannot be written.
    """
    print(table, end="")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.write_docs:
        write_marked(document, mark, table)
