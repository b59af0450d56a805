"""The environments of their own that other people's programs need.

tflite-runtime 2.14 wants NumPy 1, TensorFlow is too large for every developer, TensorFlow Lite for Microcontrollers has nightly builds only, and
Vela brings its own command. onnxruntime-qnn brings an ONNX Runtime that must not be the one of our tests, rknn-toolkit2
wants NumPy 1 and old protobuf. The Python with TensorFlow also reads Keras models for the converter.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run_legacy(*arguments: str, expected: int = 0) -> str:
    """Run Python with tflite-runtime 2.14 under NumPy 1 in the repository and return what it prints."""
    return _run(_python(".venv-tflite-legacy", "EDGEWRIGHT_LEGACY_PYTHON"), arguments, expected)


def run_tensorflow(*arguments: str, expected: int = 0) -> str:
    """Run Python with TensorFlow, and none of the smaller libraries, in the repository and return what it prints."""
    return _run(tensorflow_python(), arguments, expected)


def tensorflow_python() -> str:
    """Return the Python with TensorFlow, tf2onnx and both Keras."""
    return _python(".venv-tensorflow", "EDGEWRIGHT_TENSORFLOW_PYTHON")


def run_tflite_micro(*arguments: str, expected: int = 0) -> str:
    """Run Python with TensorFlow Lite for Microcontrollers in the repository and return what it prints."""
    return _run(_python(".venv-tflite-micro", "EDGEWRIGHT_TFLITE_MICRO_PYTHON"), arguments, expected)


def run_qnn(*arguments: str, expected: int = 0) -> str:
    """Run Python with Qualcomm's QNN in the repository and return what it prints."""
    return _run(_python(".venv-qnn", "EDGEWRIGHT_QNN_PYTHON"), arguments, expected)


def run_rknn(*arguments: str, expected: int = 0) -> str:
    """Run Python with Rockchip's toolkit in the repository and return what it prints."""
    return _run(_python(".venv-rknn", "EDGEWRIGHT_RKNN_PYTHON"), arguments, expected)


def vela() -> str:
    """Return Arm's compiler; a test that needs it fails without it, and says how to get it."""
    program = Path(os.environ.get("EDGEWRIGHT_VELA", REPOSITORY / ".venv-vela" / "bin" / "vela"))
    assert program.exists(), (
        f"{program} is not there: run `make .venv-vela/.ready` (Arm's compiler, PyPI ethos-u-vela), or name another in EDGEWRIGHT_VELA."
    )
    return str(program)


def labgrid(program: str) -> str:
    """Return one of labgrid's programs; a test that needs it fails without it, and says how to get it."""
    folder = Path(os.environ.get("EDGEWRIGHT_LABGRID", REPOSITORY / ".venv-labgrid" / "bin"))
    assert (folder / program).exists(), (
        f"{folder / program} is not there: run `make .venv-labgrid/.ready`, or name another folder in EDGEWRIGHT_LABGRID."
    )
    return str(folder / program)


def swupdate() -> tuple[str, dict[str, str]]:
    """Return SWUpdate's program, and the environment that it needs; a test that needs it fails without it, and says how to get it."""
    folder = REPOSITORY / ".swupdate" / "usr"
    program = Path(os.environ.get("EDGEWRIGHT_SWUPDATE", folder / "bin" / "swupdate"))
    assert program.exists(), (
        f"{program} is not there: run `make .swupdate/.ready` (Debian's package, unpacked), or name another in EDGEWRIGHT_SWUPDATE."
    )
    libraries = [str(path) for path in sorted((folder / "lib").glob("*-linux-gnu"))]
    return str(program), dict(os.environ) | {"LD_LIBRARY_PATH": ":".join(libraries)}


def _python(environment: str, variable: str) -> str:
    """Return its interpreter; a test that needs it fails without it, and says how to make it."""
    python = Path(os.environ.get(variable, REPOSITORY / environment / "bin" / "python"))
    assert python.exists(), (
        f"{python} is not there: run `make {environment}/.ready`, or name another in {variable}."
    )
    return str(python)


def _run(python: str, arguments: tuple[str, ...], expected: int) -> str:
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, timeout=240, check=False, cwd=REPOSITORY
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout
