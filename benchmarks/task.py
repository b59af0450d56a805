"""``python -m benchmarks.task REQUEST.json``: one `Task` in this process, its `Outcome` in the file that the request names."""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.peers import HOW_TO_INSTALL
from benchmarks.tasks import Outcome, Stopwatch, Task, peak_bytes


def main(request_path: Path) -> None:
    request = json.loads(request_path.read_text(encoding="utf-8"))
    answer, started = Path(request.pop("answer")), request.pop("started")
    paths = {name: Path(request[name]) for name in ("model", "data", "preprocess", "out")}
    evaluation = None if request["evaluation"] is None else Path(request["evaluation"])
    task = Task(**{**request, **paths, "targets": tuple(request["targets"]), "evaluation": evaluation})
    task.out.mkdir(parents=True, exist_ok=True)
    stopwatch = Stopwatch(latest=started)
    try:
        import_module(f"benchmarks.peers.{task.doer}").do(task, stopwatch)
        outcome = Outcome(laps=stopwatch.laps, peak_bytes=peak_bytes())
    except ModuleNotFoundError as error:
        outcome = Outcome(
            laps={}, peak_bytes=0, missing=f"{error.name} is not installed: {HOW_TO_INSTALL[task.doer]}"
        )
    answer.write_text(json.dumps(dataclasses.asdict(outcome)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
