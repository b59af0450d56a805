"""What the measured document says, and what it does not."""

import re
from pathlib import Path

from benchmarks.document import BEGIN, END, _without_folders
from benchmarks.options import BENCHMARKS, HARD_TARGETS

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"


def test_the_document_does_not_say_where_on_a_machine_things_are() -> None:
    command = "python -m benchmarks --data /home/me/pictures/imagenet_cc --json out/bench.json"
    assert _without_folders(command) == "python -m benchmarks --data …/imagenet_cc --json out/bench.json"


def test_the_page_has_every_chapter_once_and_between_its_markers() -> None:
    """A run and a chapter that a merge left behind would never be replaced, and stand there beside newer figures."""
    text = PAGE.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    results = text.partition(BEGIN)[2].partition(END)[0]
    chapters = [name for name in BENCHMARKS if name != "hard"] + [f"hard-{target}" for target in HARD_TARGETS]
    assert sorted(re.findall(r"<!-- chapter ([\w-]+) -->", text)) == sorted(chapters)
    for marker in ("<!-- a run -->", "<!-- chapter "):
        assert text.count(marker) == results.count(marker)
