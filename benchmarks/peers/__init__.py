"""How each converter is used, ours among them: one file each, with ``do(task, stopwatch)``. The first lap is always ``imports``.

Every peer gets the same samples in the same order, its documented default for what the target can do, and what its own manual tells a user
to do first. What is done and what is not is said in ``docs/benchmarks.md``. Peers that need PyTorch, or other versions of what we need, live
in environments of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

HOW_TO_INSTALL: Final = {
    "edgewright": "pip install -e '.[host]'",
    "onnxruntime_static": "pip install onnxruntime sympy",
    "nncf_default": "pip install nncf==3.4.0",
    "nncf_accurate": "pip install nncf==3.4.0",
    "litert_static": "pip install litert-quantizer==0.11.0",
    "aimet_adaround": "make bench-peers",
    "quark": "make bench-peers",
    "esp_ppq": "make bench-peers",
}
"""The command that brings a doer, by its name."""

_ENVIRONMENTS: Final = {"aimet_adaround": ".venv-aimet", "quark": ".venv-quark", "esp_ppq": ".venv-esp-ppq"}


def python_of(doer: str) -> Path:
    """Return the interpreter of a doer: this one, or that of its own environment."""
    environment = _ENVIRONMENTS.get(doer)
    return Path(sys.executable if environment is None else f"{environment}/bin/python").absolute()
