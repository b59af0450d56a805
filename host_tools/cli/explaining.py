"""What `edgewright explain` does: read report, diagnoses and plans, and print them."""

from __future__ import annotations

import dataclasses
import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.diagnose.diagnosis_file import decode as decode_diagnosis
from host_tools.diagnose.explanation import explain_target
from host_tools.diagnose.layer_explanation import explain_layer
from host_tools.errors import InputError
from host_tools.plan.plan_file import decode as decode_plan
from host_tools.verify.report_file import decode as decode_report

if TYPE_CHECKING:
    import argparse

    from host_tools.diagnose.diagnosis import Diagnosis, LayerDiagnosis
    from host_tools.verify.verification_report import TargetReport, VerificationReport

_LISTED = 8


def run(options: argparse.Namespace) -> int:
    """Print one text or JSON document; status 0 whatever the verdict, for nothing was asked of the model."""
    folder = _folder(Path(options.source))
    path = folder / "report.json"
    report = decode_report(_read(path), where=str(path))
    targets = _targets(report, options.target, where=path)
    diagnoses = {target.target: _diagnosis(folder, report, target.target) for target in targets}
    if options.layer is not None:
        return _show_layer(folder, targets, diagnoses, options)
    if options.json:
        print(_json({"model": report.model, "targets": [_table(one, diagnoses) for one in targets]}))
        return 0
    print(f"{report.model}, {report.calibration}\n")
    print("\n".join(explain_target(one, diagnoses[one.target]) for one in targets), end="")
    if options.target is None:
        for refusal in report.refused:
            print(f"\n{refusal.target}: refused: {refusal.reason}")
    return 0


def _folder(source: Path) -> Path:
    """Return the folder with the report, from that folder, from one of its targets', or from a file in either."""
    if not source.exists():
        raise InputError(
            f"{source}: there is no such file or folder.", hint="Give the --out folder of a conversion."
        )
    start = source if source.is_dir() else source.parent
    for folder in (start, start.parent):
        if (folder / "report.json").is_file():
            return folder
    raise InputError(
        f"{source}: expected a folder with a report.json, got one without.",
        hint="Give the --out folder of a conversion.",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}.", hint="Convert the model anew."
        ) from error


def _targets(report: VerificationReport, wanted: str | None, *, where: Path) -> list[TargetReport]:
    if wanted is None:
        return list(report.targets)
    found = [target for target in report.targets if target.target == wanted]
    if not found:
        known = ", ".join(target.target for target in report.targets)
        raise InputError(f"{where}: it has no target {wanted!r}; it has {known}.")
    return found


def _diagnosis(folder: Path, report: VerificationReport, target: str) -> Diagnosis | None:
    """Return a target's diagnosis, None where the conversion made none.

    Raises:
        InputError: It cannot be read, or is of another model than the report.
    """
    path = folder / target / "diagnosis.json"
    if not path.exists():
        return None
    diagnosis = decode_diagnosis(_read(path), where=str(path))
    if diagnosis.model_digest != report.model_digest:
        raise InputError(
            f"{path}: model_digest: expected that of report.json, {report.model_digest}, got {diagnosis.model_digest}.",
            hint="Convert the model anew.",
        )
    return diagnosis


def _show_layer(
    folder: Path,
    targets: list[TargetReport],
    diagnoses: dict[str, Diagnosis | None],
    options: argparse.Namespace,
) -> int:
    if len(targets) > 1:
        raise InputError(
            f"--layer needs --target here: there are {len(targets)} targets.",
            hint=f"Add --target {targets[0].target}.",
        )
    (target,) = targets
    diagnosis = diagnoses[target.target]
    if diagnosis is None:
        raise InputError(
            f"{target.target}: this conversion was not diagnosed.", hint="Convert the model with --diagnose."
        )
    layer = _layer(diagnosis, options.layer)
    if options.json:
        print(
            _json(
                {
                    "model": diagnosis.model,
                    "target": diagnosis.target,
                    "layer": dataclasses.asdict(layer),
                }
            )
        )
        return 0
    path = folder / target.target / "plan.json"
    print(explain_layer(layer, decode_plan(_read(path), where=str(path))), end="")
    return 0


def _layer(diagnosis: Diagnosis, wanted: str) -> LayerDiagnosis:
    """Return the layer of that name or output, or the only one with that in its name.

    Raises:
        InputError: There is none, or several.
    """
    exact = [layer for layer in diagnosis.layers if wanted in (layer.name, layer.value)]
    found = exact or [layer for layer in diagnosis.layers if wanted in layer.name or wanted in layer.value]
    if len(found) == 1:
        return found[0]
    names = [layer.name for layer in found or diagnosis.layers]
    if not found:
        names = difflib.get_close_matches(wanted, names, n=_LISTED, cutoff=0.3) or names
    more = "" if len(names) <= _LISTED else f" and {len(names) - _LISTED} more"
    raise InputError(
        f"--layer {wanted!r}: {f'{len(found)} layers have that in their name' if found else 'no quantized layer is called so'}.",
        hint=f"Choose one of {', '.join(names[:_LISTED])}{more}.",
    )


def _table(target: TargetReport, diagnoses: dict[str, Diagnosis | None]) -> dict[str, object]:
    diagnosis = diagnoses[target.target]
    return {
        "target": target.target,
        "verdict": target.verdict,
        "reasons": target.reasons,
        "diagnosis": None if diagnosis is None else dataclasses.asdict(diagnosis),
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
