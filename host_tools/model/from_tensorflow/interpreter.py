"""Which Python has TensorFlow, and in which versions: asked without importing it, which would take seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE: Final = "EDGEWRIGHT_TENSORFLOW_PYTHON"
PACKAGES: Final = ("tensorflow", "tf2onnx", "onnx", "keras", "tf_keras")
_NEEDED: Final = ("tensorflow", "tf2onnx", "onnx")
_SECONDS: Final = 120
_QUESTION: Final = """
import json, sys
sys.path[:] = [path for path in sys.path if path]
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""
INSTALL: Final = (
    "pip install 'edgewright[tensorflow]' here, or name the Python of another environment that has it "
    f"by --tensorflow-python or {VARIABLE}."
)


def interpreter(given: str | Path | None) -> str:
    """Return the Python to ask: the one that is given, else the environment's, else the one that runs this.

    Raises:
        InputError: The one that was named is not there.
    """
    named = str(given) if given is not None else os.environ.get(VARIABLE, "")
    if not named:
        return sys.executable
    found = shutil.which(named)
    if found is None:
        source = "--tensorflow-python" if given is not None else VARIABLE
        raise InputError(
            f"{source}: {named!r} is no program.",
            hint="Give the path of a Python interpreter, such as venv/bin/python.",
        )
    return os.path.abspath(found)  # noqa: PTH100 - a link into an environment must stay the link: resolved it loses the environment


def versions(python: str, *, needed_by: str) -> Mapping[str, str]:
    """Return which of our packages that Python has, by name.

    Args:
        python: From `interpreter`.
        needed_by: What asks for them, for the message.

    Raises:
        InputError: It cannot be run, or lacks one that every conversion needs.
    """
    try:
        done = subprocess.run(
            [python, "-c", _QUESTION, *PACKAGES],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
            env=environment(python),
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InputError(
            f"{python} could not be asked for TensorFlow: {type(error).__name__}.",
            hint=f"It must be a Python interpreter: give another by --tensorflow-python or {VARIABLE}.",
        ) from error
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise InputError(
            f"{needed_by} needs {' and '.join(missing)}, which {python} does not have.", hint=INSTALL
        )
    return MappingProxyType(found)


def environment(python: str) -> dict[str, str]:
    """Return the environment of a process of that Python: our own paths belong to our own interpreter only."""
    own = dict(os.environ)
    if python != sys.executable:
        for name in ("PYTHONPATH", "PYTHONHOME"):
            own.pop(name, None)
    return own
