"""``python -m benchmarks.models.row REQUEST.json``: one model for its targets in this process; a `Row` each in the file that the request names."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.zoo import by_id
from benchmarks.options import THREADS
from benchmarks.tasks import peak_bytes
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import EdgewrightError
from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.model.reference import FloatRunner
from host_tools.pipeline import convert
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.models.zoo import Entry

    Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a model came to on a target.

    Attributes:
        model: Id of the entry.
        target: Profile id.
        calibration: Samples that calibrated it.
        others: Samples that it was held against the float model on.
        agreement: By the entry's comparison, a share; None where it has none or the float model finds nothing.
        sqnr_db: Of the worst output, on its engine; None where nothing differs.
        stages: That were kept.
        integer_ops: Operators that the engine computes in integers.
        float_ops: Those in float.
        transposes: TRANSPOSE operators of a TFLite file; None elsewhere.
        seconds: Of processor, user and system, from the start of the process to the end of the conversion, for all targets together.
        peak_bytes: Resident memory at most until then.
        refusal: Why there is no file; empty where there is one.
    """

    model: str
    target: str
    calibration: int
    others: int
    agreement: float | None = None
    sqnr_db: float | None = None
    stages: tuple[str, ...] = ()
    integer_ops: int = 0
    float_ops: int = 0
    transposes: int | None = None
    seconds: float = 0.0
    peak_bytes: int = 0
    refusal: str = ""


def convert_rows(entry: Entry, targets: Sequence[str], folder: Path) -> list[Row]:
    """Convert a prepared model for its targets, calibrated once, and run what comes out.

    Args:
        entry: The model.
        targets: Profile ids.
        folder: Of the model: ``model.*``, ``calibration.npz``, ``others.npz``; files are written below it.
    """
    others = np.load(folder / "others.npz")
    counts: dict[str, Any] = {
        name: len(arrays[arrays.files[0]])
        for name, arrays in (("calibration", np.load(folder / "calibration.npz")), ("others", others))
    }
    try:
        done = convert(
            entry.file_in(folder),
            data=folder / "calibration.npz",
            evaluation=folder / "others.npz",
            targets=targets,
            out=folder / "out",
            shapes=dict(entry.shapes),
            constants=dict(entry.constants),
            budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),  # every file is to be run, however it did
            latency=False,
            threads=THREADS,
            cache=folder / "cache",
        )
    except EdgewrightError as error:
        cost = _cost()
        return [
            Row(model=entry.id, target=target, refusal=str(error), **cost, **counts) for target in targets
        ]
    cost = _cost()
    refused = {one.target: one.reason for one in done.report.refused}
    refused |= {
        one.target: " ".join(one.reasons) for one in done.report.targets if one.target not in done.artifacts
    }
    rows = {
        target: Row(model=entry.id, target=target, refusal=reason, **cost, **counts)
        for target, reason in refused.items()
    }
    for report in done.report.targets:
        if report.target not in refused:
            rows[report.target] = Row(
                model=entry.id,
                target=report.target,
                agreement=_agreement(entry, folder, done.artifacts[report.target], others),
                sqnr_db=report.agreement.sqnr_db,
                stages=tuple(stage.name for stage in report.stages if stage.is_kept),
                transposes=_transposes(folder / "out" / report.target / "model.tflite"),
                integer_ops=report.execution.integer_ops,
                float_ops=report.execution.float_ops,
                **cost,
                **counts,
            )
    return [rows[target] for target in targets]


def _cost() -> dict[str, Any]:
    return {"seconds": time.process_time(), "peak_bytes": peak_bytes()}


def _agreement(entry: Entry, folder: Path, artifact: Path, others: Arrays) -> float | None:
    if entry.comparison is None:
        return None
    runner = FloatRunner(entry.load(folder), threads=THREADS)
    archive = ArtifactArchive.open(artifact)
    manifest = archive.manifest
    files = {member.name: archive.read(member.name) for member in manifest.payload}
    engine = load_engine(manifest.requires.engine, files, threads=THREADS)
    exact: list[Arrays] = []
    found: list[Arrays] = []
    try:
        for sample in _samples(others):
            exact.append(runner.run(_fed_back(entry, sample, exact)))
            inputs = to_payload(_fed_back(entry, sample, found), manifest.inputs)
            found.append(to_source([np.array(one) for one in engine.infer(inputs)], manifest.outputs))
    finally:
        engine.close()
    share = entry.comparison.measure(exact, found)
    return None if math.isnan(share) else share


def _samples(arrays: Arrays) -> list[Arrays]:
    names = list(arrays)
    return [
        dict(zip(names, sample, strict=True))
        for sample in zip(*(arrays[name] for name in names), strict=True)
    ]


def _fed_back(entry: Entry, sample: Arrays, outputs: Sequence[Arrays]) -> Arrays:
    """Return a sample with the state that the same network left behind, so that errors of states add up as they do on a device."""
    if not outputs:
        return sample
    state = {given: np.asarray(outputs[-1][left], np.float32) for left, given in entry.states.items()}
    return {**sample, **state}


def _transposes(path: Path) -> int | None:
    if not path.is_file():
        return None
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415 - other formats need it not

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    codes = [code.builtinCode for code in model.operatorCodes]
    return sum(
        bool(codes[one.opcodeIndex] == schema.BuiltinOperator.TRANSPOSE)
        for one in model.subgraphs[0].operators
    )


def main(request_path: Path) -> None:
    """Make the rows that a request asks for."""
    request = json.loads(request_path.read_text(encoding="utf-8"))
    rows = convert_rows(by_id(request["model"]), request["targets"], Path(request["folder"]))
    text = json.dumps([dataclasses.asdict(row) for row in rows], indent=1)
    Path(request["answer"]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
