"""Write what a conversion made: payloads and plans, artifacts, the two reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from device_agent.contract.archive import write_archive
from host_tools.diagnose.diagnosis_file import encode as encode_diagnosis
from host_tools.diagnose.diagnosis_page import render_diagnosis
from host_tools.lower.sidecars import SIDECAR_FILES
from host_tools.made_with import made_with
from host_tools.pack.artifact import artifact_name, pack
from host_tools.plan.plan_file import encode as encode_plan
from host_tools.verify.node_data import NODE_DATA_FILE, node_data
from host_tools.verify.report_file import encode as encode_report
from host_tools.verify.report_page import render_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from device_agent.contract.manifest import Heat
    from host_tools.diagnose.diagnosis import Diagnosis
    from host_tools.output_folder import OutputFolder
    from host_tools.pipeline.material import Material
    from host_tools.progress import Progress
    from host_tools.verify.candidate import Candidate, Verified
    from host_tools.verify.verification_report import VerificationReport

_PAYLOAD_FILES = ("model.onnx", "model.tflite", "model.xml", "model.bin")
_TARGET_FILES = ("plan.json", "diagnosis.json", NODE_DATA_FILE, *_PAYLOAD_FILES, *SIDECAR_FILES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What a conversion left behind.

    Attributes:
        report: The verification of all targets.
        artifacts: Path of each target's ``.ewa``, by target; absent where the verdict forbids shipping.
        report_page: Path of ``report.html``.
        report_file: Path of ``report.json``.
        diagnoses: Path of each target's ``diagnosis.json``, by target; empty where none was wanted.
    """

    report: VerificationReport
    artifacts: Mapping[str, Path]
    report_page: Path
    report_file: Path
    diagnoses: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))
        object.__setattr__(self, "diagnoses", MappingProxyType(dict(self.diagnoses)))


def write(
    folder: OutputFolder,
    material: Material,
    candidates: Sequence[Candidate],
    verified: Verified,
    diagnoses: Mapping[str, Diagnosis],
    *,
    version: str,
    heat: Heat | None,
    progress: Progress,
) -> Conversion:
    """Write payloads and plans, an artifact for every target that may ship, and the two reports.

    What an earlier run left under these names goes first: an old artifact beside a new report that forbids it would be shipped.
    """
    progress.stage("Writing", len(candidates))
    _remove_earlier(folder, material.model.name, version, verified.report)
    artifacts: dict[str, Path] = {}
    diagnosed: dict[str, Path] = {}
    for candidate, report in zip(candidates, verified.report.targets, strict=True):
        target = candidate.profile.id
        for name, content in (*candidate.payload.files.items(), *candidate.payload.sidecars.items()):
            folder.write(f"{target}/{name}", content)
        folder.write(f"{target}/plan.json", encode_plan(candidate.plan))
        seen = node_data(candidate, report.layers)
        if seen is not None:
            folder.write(f"{target}/{NODE_DATA_FILE}", seen)
        if target in diagnoses:
            diagnosed[target] = folder.write(f"{target}/diagnosis.json", encode_diagnosis(diagnoses[target]))
        if report.verdict in ("pass", "marginal"):
            artifact = pack(
                material.model,
                candidate.payload,
                candidate.plan,
                report,
                candidate.profile,
                version=version,
                golden=verified.golden[target],
                recipe=material.recipe,
                preparation=material.preparation,
                heat=heat,
                made_with=made_with(),
            )
            artifacts[target] = folder.write_with(
                artifact.file_name,
                partial(write_archive, manifest=artifact.manifest, members=artifact.members),
            )
        progress.step()
    page = folder.write(
        "report.html", render_report(verified.report, diagnosis=render_diagnosis(diagnoses.values())).encode()
    )
    file = folder.write("report.json", encode_report(verified.report))
    return Conversion(
        report=verified.report,
        artifacts=artifacts,
        report_page=page,
        report_file=file,
        diagnoses=diagnosed,
    )


def _remove_earlier(folder: OutputFolder, model: str, version: str, report: VerificationReport) -> None:
    for target in (*(one.target for one in report.targets), *(one.target for one in report.refused)):
        folder.remove(artifact_name(model, version, target))
        for file in _TARGET_FILES:
            folder.remove(f"{target}/{file}")
    for name in ("report.html", "report.json"):
        folder.remove(name)
