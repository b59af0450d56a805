"""A poll costs the same in a large fleet as in a small one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.fleet import polls

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_a_poll_costs_does_not_grow_with_the_fleet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "out" / "polls.json"
    assert polls.main(["--sizes", "500", "5000", "--json", str(kept)]) == 0
    assert capsys.readouterr().out.count("\n") == 4
    small, large = json.loads(kept.read_text(encoding="utf-8")).values()
    assert list(small) == ["an action is made", "the same action again", "a second later", "nothing to do"]
    for what, cost in small.items():
        assert large[what]["statements"] == cost["statements"]
        # Ten times as many devices in each group; a tree of rows is a little deeper.
        assert large[what]["steps"] <= 1.1 * cost["steps"]
    # A transaction with the token, the device and its tags; and one with its open jobs and its newest action, with nothing twice.
    assert small["a second later"]["statements"] == 4 + 3
