"""What `edgewright diff` does: read both, compare, and print what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.cli.printing import print_found
from host_tools.difference import terminal
from host_tools.difference.comparing import compare
from host_tools.difference.side import read_side

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Print what differs; 1 when anything does."""
    found = compare(read_side(Path(options.a)), read_side(Path(options.b)), run=options.inputs)
    print_found(terminal.data(found) if options.json else terminal.render(found))
    return int(found.differs)
