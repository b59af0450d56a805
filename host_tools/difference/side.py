"""`Side`: one of the two files of a comparison, read and checked."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of
from host_tools.errors import InputError
from host_tools.lint.interface import ENGINES, payload_tensor
from host_tools.lint.reading import read
from host_tools.plan.plan_file import decode as decode_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from device_agent.contract.manifest import Manifest, PayloadTensor
    from host_tools.lint.facts import LintedFile
    from host_tools.plan.quantization_plan import QuantizationPlan

_PLAN, _REPORT = "plan.json", "report.json"
_SAID: Final = ("verdict", "reasons", "engine", "method")
_AGREED: Final = ("sample_count", "same_top_class", "sqnr_db", "max_absolute")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One file.

    Attributes:
        path: As the user calls it.
        digest: Over the file; of an ``.xml``, over it and then its ``.bin``.
        size_bytes: Of the same.
        file: What the payload says of its operators and tensors.
        payload: File name to bytes, main file first.
        members: Size and digest by member, for an artifact.
        manifest: None for a bare file.
        plan: None where there is none.
        verification: What verification said, by field of ``report.json``; empty where there is no report.
        executed: Operators by precision, as verification saw the engine run them; None where no report says so.
        golden: The golden inputs, as the payload takes them.
    """

    path: str
    digest: str
    size_bytes: int
    file: LintedFile
    payload: Mapping[str, bytes]
    members: Mapping[str, tuple[int, str]]
    manifest: Manifest | None = None
    plan: QuantizationPlan | None = None
    verification: Mapping[str, str] = field(default_factory=dict)
    executed: Mapping[str, int] | None = None
    golden: tuple[tuple[NDArray[np.generic], ...], ...] = ()

    @property
    def engine(self) -> str:
        """Which engine runs it."""
        return self.manifest.requires.engine if self.manifest is not None else ENGINES[self.file.format]

    def bare(self) -> Side:
        """Return the payload alone, to be held against a bare file."""
        whole = b"".join(self.payload.values())
        return replace(self, digest=digest_of(whole), size_bytes=len(whole), members={})

    def tensors(self, *, as_stored: bool) -> tuple[tuple[PayloadTensor, ...], tuple[PayloadTensor, ...]]:
        """Return inputs and outputs, with what must be known to feed and to read them.

        Args:
            as_stored: By the payload's own names and in its layout, as the file has them; else by the float model's, as the manifest has
                them, if there is one.

        Raises:
            InputError: The file has an input or output of an open shape, or of a type that no engine here is fed.
        """
        if self.manifest is not None and not as_stored:
            return self.manifest.inputs, self.manifest.outputs
        return (
            tuple(payload_tensor(one, self.path) for one in self.file.inputs),
            tuple(payload_tensor(one, self.path) for one in self.file.outputs),
        )


def read_side(path: Path) -> Side:
    """Read and check one file.

    Args:
        path: ``.ewa``, ``.tflite``, ``.onnx``, or ``.xml`` with its ``.bin`` beside it.

    Raises:
        FileError: It cannot be read, is of a kind that we do not know, or is not sound.
        InputError: A member of an artifact cannot be understood.
        ContractError: It is no ``.ewa`` archive, or its manifest breaks a rule.
        TrustError: A member of the artifact is not what its manifest says.
    """
    file = read(path)
    if path.suffix.lower() == ".ewa":
        return _artifact(path, file)
    names = [path, *([path.with_suffix(".bin")] if file.format == "openvino_ir" else [])]
    payload = {one.name: one.read_bytes() for one in names}
    whole = b"".join(payload.values())
    return Side(
        path=str(path),
        digest=digest_of(whole),
        size_bytes=len(whole),
        file=file,
        payload=payload,
        members={},
    )


def _artifact(path: Path, file: LintedFile) -> Side:
    archive = ArtifactArchive.open(path)
    manifest = archive.manifest
    names = {member.name for member in manifest.members}
    payload = {Path(name).name: data for name, data in archive.payload().items()}
    plan = decode_plan(archive.read(_PLAN), where=f"{path}: {_PLAN}") if _PLAN in names else None
    verification, executed = (
        _report(archive.read(_REPORT), where=f"{path}: {_REPORT}") if _REPORT in names else ({}, None)
    )
    golden = tuple(
        tuple(_array(archive.read(name), where=f"{path}: {name}") for name in sample.inputs)
        for sample in manifest.golden
    )
    return Side(
        path=str(path),
        digest=archive.digest,
        size_bytes=path.stat().st_size,
        file=file,
        payload=payload,
        members={one.name: (one.size_bytes, one.digest) for one in (*manifest.payload, *manifest.members)},
        manifest=manifest,
        plan=plan,
        verification=verification,
        executed=executed,
        golden=golden,
    )


def _report(data: bytes, *, where: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return what verification said, by field, and how many operators the engine ran in which precision."""
    try:
        report = json.loads(data)
        said = {key: report[key] for key in _SAID}
        said |= {f"agreement.{key}": report["agreement"][key] for key in _AGREED}
        counts = Counter[str](str(op["precision"]) for op in report["execution"]["ops"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{where}: does not say what verification found.", hint="Convert the model anew."
        ) from error
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in said.items()}
    return texts, dict(sorted(counts.items()))


def _array(data: bytes, *, where: str) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{where}: not an array: {error}.", hint="Convert the model anew.") from error
    return array
