"""`golden`: compare text with a checked-in file; ``--update-golden`` rewrites it, and the difference is reviewed like code.

The option exists when this folder is named: ``pytest tests/golden --update-golden``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the golden files instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Return a function that holds text against a golden file."""
    updating = bool(request.config.getoption("--update-golden", default=False))

    def compare(path: Path, text: str) -> None:
        if updating:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing: run pytest tests/golden --update-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return compare
