"""``python -m benchmarks.agent.direct REQUEST.json``: the bare engine in a process of its own, without the agent.

The request names an artifact, its engine, threads and seconds. The answer's laps are figures in seconds:

    load       importing the library, numpy in it, and loading the payload
    period     wall time per inference of a plain loop over the library's own call
    adapter    what `device_agent.engines` adds to that call, with the tap of a shadow run, which every agent that takes updates has; measured only
               where ``compare`` asks for it, on small models
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.tasks import Outcome, peak_bytes
from device_agent.contract.archive import ArtifactArchive

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP_SECONDS: Final = 0.5
_BLOCK_RUNS: Final = 200
_BLOCKS: Final = 50
_TIMED_LIBRARIES: Final = frozenset({"numpy", "onnxruntime", "ai_edge_litert"})


def main(request_path: Path) -> None:
    request = json.loads(request_path.read_text(encoding="utf-8"))
    with_files = ArtifactArchive.open(Path(request["artifact"]))
    files = {name.rsplit("/", 1)[-1]: data for name, data in with_files.payload().items()}
    laps: dict[str, float] = {}
    if early := sorted(_TIMED_LIBRARIES & sys.modules.keys()):
        raise RuntimeError(
            f"{', '.join(early)} imported before the clock starts: loading an engine would seem shorter than it is"
        )
    start = time.perf_counter()
    call = _OPENERS[request["engine"]](files, request["threads"])
    laps["load"] = time.perf_counter() - start
    call()
    if request["seconds"]:
        laps["period"] = _period(call, request["seconds"])
    if request["compare"]:
        laps["adapter"] = _adapter(call, request["engine"], files, request["threads"])
    outcome = Outcome(laps=laps, peak_bytes=peak_bytes())
    Path(request["answer"]).write_text(json.dumps(dataclasses.asdict(outcome)), encoding="utf-8")


def _period(call: Callable[[], object], seconds: float) -> float:
    """Return the mean wall time of a call in a loop that does nothing else."""
    end = time.perf_counter() + _WARM_UP_SECONDS
    while time.perf_counter() < end:
        call()
    count, start = 0, time.perf_counter()
    end = start + seconds
    while (now := time.perf_counter()) < end:
        call()
        count += 1
    return (now - start) / count


def _adapter(call: Callable[[], object], engine: str, files: dict[str, bytes], threads: int) -> float:
    """Return the median, over alternating blocks, of our engine's call less the library's."""
    import numpy as np  # noqa: PLC0415 - not part of what loading an engine costs

    from device_agent.engines import load_engine  # noqa: PLC0415 - as above
    from device_agent.update.shadow import Tap  # noqa: PLC0415 - as above

    ours = Tap(load_engine(engine, files, threads=threads))
    inputs = [np.zeros(shape, dtype) for dtype, shape in _inputs(engine, files)]
    differences = []
    for _ in range(_BLOCKS):
        bare, adapted = _block(call), _block(lambda: ours.infer(inputs))
        differences.append((adapted - bare) / _BLOCK_RUNS)
    return statistics.median(differences)


def _block(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(_BLOCK_RUNS):
        call()
    return time.perf_counter() - start


def _inputs(engine: str, files: dict[str, bytes]) -> list[tuple[Any, tuple[int, ...]]]:
    """Return type and shape of each input."""
    if engine == "onnx":
        from device_agent.engines.onnxruntime_library import onnxruntime as ort  # noqa: PLC0415 - as above

        doors = ort.InferenceSession(
            next(iter(files.values())), providers=["CPUExecutionProvider"]
        ).get_inputs()
        types = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
        return [(types[door.type], tuple(door.shape)) for door in doors]
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - as above

    details = Interpreter(model_content=next(iter(files.values()))).get_input_details()
    return [(detail["dtype"], tuple(detail["shape"])) for detail in details]


def _open_onnx(files: dict[str, bytes], threads: int) -> Callable[[], object]:
    """Return a call of ONNX Runtime with the settings that the agent uses: settings are no cost of the agent."""
    import numpy as np  # noqa: PLC0415 - importing is part of what is measured

    from device_agent.engines.onnx import open_session, session_options  # noqa: PLC0415 - as above

    session = open_session(next(iter(files.values())), lambda: session_options(threads))
    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    feeds = {door.name: np.zeros(door.shape, types[door.type]) for door in session.get_inputs()}
    names = [exit_.name for exit_ in session.get_outputs()]
    return lambda: session.run(names, feeds)


def _open_tflite(files: dict[str, bytes], threads: int) -> Callable[[], object]:
    """Return a call of LiteRT."""
    import numpy as np  # noqa: PLC0415 - as above
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - as above

    interpreter = Interpreter(model_content=next(iter(files.values())), num_threads=threads)
    interpreter.allocate_tensors()
    door, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    zeros = np.zeros(door["shape"], door["dtype"])

    def call() -> object:
        interpreter.set_tensor(door["index"], zeros)
        interpreter.invoke()
        return interpreter.get_tensor(exit_["index"])

    return call


_OPENERS: Final = {"onnx": _open_onnx, "tflite": _open_tflite}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
