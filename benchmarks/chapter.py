"""``python -m benchmarks.chapter NAME OPTIONS.json CHAPTER.json``: one benchmark in a process of its own.

So that no benchmark measures among the threads, caches and memory that another has left behind.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.findings import encode
from benchmarks.material import Material
from benchmarks.options import Options
from host_tools.cli.progress import ProgressBars


def main(name: str, options_path: Path, answer: Path) -> None:
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    options = Options.from_json(options_path.read_text(encoding="utf-8"))
    start = time.monotonic()
    with ProgressBars(quiet=False) as progress:
        chapter = import_module(f"benchmarks.{name}").measure(options, Material.of(options), progress)
    answer.write_text(
        encode(dataclasses.replace(chapter, seconds=time.monotonic() - start)), encoding="utf-8"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit(130)
