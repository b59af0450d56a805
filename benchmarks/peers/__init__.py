"""How each converter is used, ours among them: one file each, with ``do(task, stopwatch)``. The first lap is always ``imports``.

Every peer gets the same samples in the same order, its documented default for int8 with per-channel weights, and what its own manual tells
a user to do first. What is done and what is not is said in ``docs/benchmarks.md``.
"""

from __future__ import annotations

from typing import Final

HOW_TO_INSTALL: Final = {
    "edgewright": "pip install -e '.[host]'",
    "onnxruntime_static": "pip install onnxruntime sympy",
    "nncf_default": "pip install nncf==3.4.0",
    "litert_static": "pip install litert-quantizer==0.11.0",
}
"""The command that brings a doer, by its name."""
