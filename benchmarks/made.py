"""What is converted once and used by several benchmarks: `obtain` a file by name; the first who asks has it made, in a fresh process.

The files come from the same tasks that the conversion benchmark times, with each doer's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from benchmarks.options import TARGETS
from benchmarks.tasks import NotMeasuredError, Task, run_once

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.material import Material

EngineKind = Literal["onnx", "openvino", "tflite"]
Side = Literal["ours", "peer", "float"]
_VERSION = "0.1.0"  # that `convert` gives a model when it is told none


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file that takes part.

    Attributes:
        name: For people.
        side: Whose it is.
        engine: What runs it.
    """

    name: str
    side: Side
    engine: EngineKind


ENTRIES: Final = (
    Entry(name="float model", side="float", engine="onnx"),
    Entry(name="float model", side="float", engine="openvino"),
    Entry(name="float TFLite", side="float", engine="tflite"),
    Entry(name="Edgewright ONNX QDQ", side="ours", engine="onnx"),
    Entry(name="Edgewright OpenVINO IR", side="ours", engine="openvino"),
    Entry(name="Edgewright TFLite", side="ours", engine="tflite"),
    Entry(name="quantize_static", side="peer", engine="onnx"),
    Entry(name="NNCF", side="peer", engine="openvino"),
    Entry(name="litert-quantizer", side="peer", engine="tflite"),
)
ENGINE_NAMES: Final = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "tflite": "LiteRT"}
_TARGET_OF: Final = dict(zip(("onnx", "openvino", "tflite"), TARGETS, strict=True))
_FILES: Final = {"onnx": "model.onnx", "openvino": "model.xml", "tflite": "model.tflite"}
_PEERS: Final = {"onnx": "onnxruntime_static", "openvino": "nncf_default", "tflite": "litert_static"}


def entry_of(side: Side, engine: EngineKind) -> Entry:
    """Return the entry of one side in one engine."""
    return next(entry for entry in ENTRIES if (entry.side, entry.engine) == (side, engine))


def obtain(material: Material, entry: Entry) -> Path:
    """Return the main file of an entry.

    Raises:
        NotMeasuredError: It cannot be made; the message says why.
    """
    if entry.side == "ours":
        return _ours(material) / _TARGET_OF[entry.engine] / _FILES[entry.engine]
    if entry.side == "float":
        return float_tflite(material) if entry.engine == "tflite" else material.model
    model = float_tflite(material) if entry.engine == "tflite" else material.model
    doer = _PEERS[entry.engine]
    task = Task(
        doer=doer,  # type: ignore[arg-type]  # the values of _PEERS are doers
        model=model,
        data=material.calibration,
        preprocess=material.preprocess,
        out=material.made / doer,
    )
    return _done(task) / _FILES[entry.engine]


def artifact(material: Material, engine: EngineKind) -> Path:
    """Return our ``.ewa`` for the target that an engine runs.

    Raises:
        NotMeasuredError: It cannot be made, or verification did not let it pass.
    """
    path = _ours(material) / f"{material.model.stem}-{_VERSION}-{_TARGET_OF[engine]}.ewa"
    if not path.is_file():
        raise NotMeasuredError(f"{path.name} was not shipped; {path.parent / 'report.html'} says why.")
    return path


def float_tflite(material: Material) -> Path:
    """Return the float TFLite file that the TFLite peer starts from.

    Raises:
        NotMeasuredError: It cannot be made.
    """
    from benchmarks.float_tflite import write_fair  # noqa: PLC0415 - needs LiteRT, which the other entries do not

    fair = material.made / "float_tflite" / "model.tflite"
    if not fair.is_file():
        target = _TARGET_OF["tflite"]
        task = Task(
            doer="edgewright",
            model=material.model,
            data=material.calibration,
            preprocess=material.preprocess,
            out=material.made / "float",
            targets=(target,),
            is_float=True,
        )
        write_fair(_done(task) / target / "model.tflite", fair)
    return fair


def _ours(material: Material) -> Path:
    return _done(
        Task(
            doer="edgewright",
            model=material.model,
            data=material.calibration,
            preprocess=material.preprocess,
            out=material.made / "edgewright",
            targets=TARGETS,
        )
    )


def _done(task: Task) -> Path:
    """Return the folder of a task, doing it if nobody has."""
    outcome = run_once(task)
    if outcome.missing:
        raise NotMeasuredError(f"{task.doer}: {outcome.missing}")
    return task.out
