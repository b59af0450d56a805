"""The process that has TensorFlow: its memory and its log end with it, and a file that makes it crash takes nothing else along."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.document import printable
from host_tools.errors import InputError, ModelError, UnsupportedOperatorError
from host_tools.model.from_tensorflow.interpreter import environment
from host_tools.model.from_tensorflow.kinds import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.from_tensorflow.kinds import Kind

_ROOT: Final = Path(__file__).parents[3]
_START: Final = """
import sys
sys.path[:] = [path for path in sys.path if path]
import runpy, types
root = sys.argv.pop(1)
for name in ("host_tools", "host_tools.model"):
    package = types.ModuleType(name)
    package.__path__ = [root + "/" + name.replace(".", "/")]
    sys.modules[name] = package
runpy.run_module("host_tools.model.from_tensorflow.child", run_name="__main__")
"""
# Another environment has none of our packages, and must not get our folder on its path: beside us lie other versions of its own.
_QUIET: Final = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # folded constants are the same on every processor
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
}
_LONGEST: Final = 600
_KINDS: Final = {"model": ModelError, "unsupported_operator": UnsupportedOperatorError, "input": InputError}


def run_child(
    python: str,
    path: Path,
    kind: Kind,
    *,
    signature: str | None,
    shapes: Mapping[str, tuple[int, ...]],
    folder: Path,
) -> tuple[Path, Mapping[str, str]]:
    """Let a child write the model as ONNX.

    Args:
        python: The interpreter that has TensorFlow.
        path: The model.
        kind: What it is.
        signature: Which signature of a SavedModel; None: the usual one.
        shapes: Shapes that are fixed, by input name.
        folder: An empty folder for the child's files.

    Returns:
        The ONNX file in ``folder``, and what read the model: versions by name.

    Raises:
        ModelError: The model cannot be read or traced, or the process died of it.
        UnsupportedOperatorError: ONNX has no counterpart for an operator.
        InputError: The model has no such signature.
    """
    request = {
        "path": str(path.resolve()),
        "kind": kind,
        "signature": signature,
        "shapes": dict(shapes),
        "folder": str(folder),
    }
    try:
        done = subprocess.run(
            [python, "-c", _START, str(_ROOT)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=folder,
            env=environment(python) | _QUIET | {"KERAS_HOME": str(folder)},
        )
    except OSError as error:
        raise InputError(
            f"{python} cannot be run: {error.strerror or error}.", hint="Give another by --tensorflow-python."
        ) from error
    answer = _answer(folder)
    if answer is None:
        raise ModelError(
            f"{path}: TensorFlow {_ending(done)} while it read {spoken(kind)}.",
            hint="The file may be damaged, or memory may be short; save the model again, or try it on a larger machine.",
        )
    if "refused" in answer:
        refused = answer["refused"]
        raise _KINDS[refused["code"]](
            f"{path}: {printable(refused['message'])[:_LONGEST]}", hint=printable(refused["hint"])[:_LONGEST]
        )
    return folder / "model.onnx", answer["made_with"]


def _answer(folder: Path) -> dict[str, dict[str, str]] | None:
    try:
        found: dict[str, dict[str, str]] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        name = (
            signal.Signals(-done.returncode).name
            if -done.returncode in set(signal.Signals)
            else str(-done.returncode)
        )
        return f"was ended by {name}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = f" ({printable(lines[-1])[:200]})" if lines else ""
    return f"ended with status {done.returncode}{said}"
