"""Names and versions of the tools that had a part in an artifact."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_TOOLS = ("edgewright", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "openvino", "ai-edge-litert")


def made_with() -> dict[str, str]:
    """Return the version of every tool that is installed, by name, and of Python."""
    found = {"python": platform.python_version()}
    for tool in _TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found
