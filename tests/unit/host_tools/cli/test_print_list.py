"""Lists of the command line: nothing is cut off, on a terminal or in a pipe, and nothing in them commands the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from host_tools.cli.printing import print_list

if TYPE_CHECKING:
    import pytest

NAMES = [f"{number:02d}" + "x" * 62 for number in range(3)]
ROWS = [(name, "lab " * 20, "\x1b[31mred\u202e") for name in NAMES]


def test_a_row_is_one_line_of_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(("device", "tags", "engine"), ROWS)
    lines = [line for line in capsys.readouterr().out.splitlines() if "x" in line]
    assert [name in line for name, line in zip(NAMES, lines, strict=True)] == [True] * 3
    assert all("lab " * 19 + "lab" in line for line in lines)
    assert not any("\x1b" in line or "\u202e" in line for line in lines)


def test_on_a_narrow_terminal_everything_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "40")):
        monkeypatch.setenv(name, value)
    print_list(("device", "tags", "engine"), ROWS)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)  # what the table itself is drawn with
    assert "\x1b" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 40
    assert "…" not in shown
    assert shown.count("x") == 3 * 62
