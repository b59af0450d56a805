"""A fault of ours as an error in one line: where it happened, and a file that has the trace."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

from host_tools.errors import InternalError
from host_tools.review.wire_text import harmless

_LONGEST = 300


def fault_of(error: Exception) -> InternalError:
    """Return what tells of an error that nobody foresaw, and write its trace to a file."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = harmless(" ".join(str(error).split()))[:_LONGEST]
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="edgewright-fault-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write("".join(traceback.format_exception(error)))
        report = f"report it with {file.name}, which has the trace"
    except OSError:
        report = "report it"
    return InternalError(
        f"{type(error).__name__}: {said}{where}.",
        hint=f"This is a fault of Edgewright, not of what you gave it: {report}.",
    )
