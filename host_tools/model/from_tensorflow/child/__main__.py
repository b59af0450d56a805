"""Request in (JSON on standard input), ``model.onnx`` and ``answer.json`` out, in the folder that the request names."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from host_tools.model.from_tensorflow.child.keras_file import open_keras
from host_tools.model.from_tensorflow.child.refusal import Refusal

if TYPE_CHECKING:
    from host_tools.model.from_tensorflow.child.computation import Computation

_MOST_BYTES = 2 << 30
"""Protobuf's limit, which an ONNX file without external data has too."""


def main() -> None:
    """Convert, and answer."""
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    try:
        answer: dict[str, object] = {"made_with": _converted(request, folder)}
    except Refusal as refusal:
        answer = _refused(refusal)
    except MemoryError:
        answer = _refused(
            Refusal("there is not enough memory for it.", hint="Convert it on a larger machine.")
        )
    partial = folder / "answer.json.partial"
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(folder / "answer.json")
    sys.stdout.flush()
    os._exit(0)  # TensorFlow's threads may crash on the way out, when everything is done


def _refused(refusal: Refusal) -> dict[str, object]:
    return {"refused": {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}}


def _converted(request: dict[str, Any], folder: Path) -> dict[str, str]:
    path = Path(request["path"])
    _require_small(path)
    computation = _computation(path, request["kind"], request["signature"], folder)
    from host_tools.model.from_tensorflow.child.onnx_writer import write_onnx  # noqa: PLC0415 - after the cheap refusals

    return dict(computation.read_by) | write_onnx(
        computation, folder / "model.onnx", shapes=request["shapes"]
    )


def _computation(path: Path, kind: str, signature: str | None, folder: Path) -> Computation:
    if kind == "saved_model":
        from host_tools.model.from_tensorflow.child.saved_model import read_saved_model  # noqa: PLC0415 - TensorFlow takes seconds

        return read_saved_model(path, signature)
    file = open_keras(path, kind, folder)
    from host_tools.model.from_tensorflow.child.keras_model import rebuild  # noqa: PLC0415 - as above

    return rebuild(file)


def _require_small(path: Path) -> None:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if size > _MOST_BYTES:
        raise Refusal(
            f"it has {size:,} bytes; models beyond {_MOST_BYTES:,} do not fit into an ONNX file.",
            hint="Export it to ONNX with external data, and give that.",
        )


if __name__ == "__main__":
    main()
