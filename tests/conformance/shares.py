"""`run_share`: some of the tests in one process; in a module of its own, so that other processes find it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.node_tests import node_tests
from tests.conformance.running import outcomes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.node_tests import NodeTest
    from tests.conformance.running import Outcome


def run_share(share: int, shares: int, only: str) -> list[tuple[int, NodeTest, list[Outcome]]]:
    """Run every ``shares``-th test whose name has ``only``; each with its place in the package's order, and without its arrays."""
    return run(lambda at, test: at % shares == share and only in test.name)


def run(chosen: Callable[[int, NodeTest], bool]) -> list[tuple[int, NodeTest, list[Outcome]]]:
    """Run the chosen tests; each with its place in the package's order."""
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        return [
            (at, test.without_arrays(), list(outcomes_of(test, Path(folder)).values()))
            for at, test in enumerate(node_tests())
            if chosen(at, test)
        ]
