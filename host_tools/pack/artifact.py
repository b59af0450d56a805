"""`Artifact`: manifest and members of one ``.ewa``; packing is pure and the same in gives the same bytes out."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.digest import digest_of
from device_agent.contract.manifest import (
    GoldenSample,
    Manifest,
    Member,
    Preprocessing,
    Requires,
    Tolerance,
)
from device_agent.contract.sound import Sound
from device_agent.contract.text import Text
from host_tools.errors import InputError
from host_tools.lower.interface import with_rows
from host_tools.observe.text_input import TextInput
from host_tools.pack.preparation import features_of, packed_preparation
from host_tools.plan.plan_file import encode as encode_plan
from host_tools.recipe_file import encode as encode_recipe
from host_tools.verify.report_file import encode_reproducible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import Heat
    from host_tools.lower.payload import Payload
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.preparation import OpenPreparation
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.recipe import Recipe
    from host_tools.verify.candidate import Golden
    from host_tools.verify.verification_report import Parity, TargetReport
    from targets.profile import CapabilityProfile

AGENT_MIN_VERSION = "0.1.0"
_SEVEN_BIT_CODES = 128
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}\Z")
_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,127}\Z")
_OTHER_KERNELS = 2.0
_FLOAT_TOLERANCE = 1e-3  # of outputs that stay float: engines differ in summation order


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What `device_agent.contract.archive.write_archive` writes: the manifest and every other member, in archive order."""

    manifest: Manifest
    members: Mapping[str, bytes]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "members", MappingProxyType(dict(self.members)))

    @property
    def file_name(self) -> str:
        """See `artifact_name`."""
        return artifact_name(self.manifest.name, self.manifest.version, self.manifest.target)


def pack(
    model: FloatModel,
    payload: Payload,
    plan: QuantizationPlan,
    report: TargetReport,
    profile: CapabilityProfile,
    *,
    version: str,
    golden: Sequence[Golden],
    recipe: Recipe,
    preparation: OpenPreparation | None,
    heat: Heat | None = None,
    made_with: Mapping[str, str],
) -> Artifact:
    """Put one verified payload, its proof and its golden samples into an artifact.

    Args:
        model: The float model.
        payload: What the engine loads.
        plan: How it came about.
        report: What verification measured; latency is left out of the archive, since it differs from run to run.
        profile: The target.
        version: The model's version as the user counts it.
        golden: Inputs and outputs as the engine gave them on the host.
        recipe: What was asked of the plan.
        preparation: How pictures, recordings or texts become inputs; None when the model takes none of them.
        heat: What the device is to do when it gets hot; None: what it is configured to do.
        made_with: Tool names and versions.

    Raises:
        InputError: ``version`` is not a version, or the report's verdict forbids shipping.
    """
    checked_version(version)
    if report.verdict not in ("pass", "marginal"):
        raise InputError(
            f"{profile.id}: a payload with verdict {report.verdict!r} is not packed.",
            hint="See report.html for the reasons.",
        )
    members = {f"payload/{name}": data for name, data in payload.files.items()}
    payload_names = tuple(members)
    samples: list[GoldenSample] = []
    for index, sample in enumerate(golden):
        inputs = _add_arrays(members, f"golden/{index}/input", sample.inputs)
        outputs = _add_arrays(members, f"golden/{index}/output", sample.outputs)
        samples.append(GoldenSample(inputs=inputs, outputs=outputs))
    declared = packed_preparation(preparation, members)
    if isinstance(preparation, TextInput):
        made_with = {**made_with, "tokenizers": preparation.reader.library_version}
    members["recipe.json"] = encode_recipe(recipe)
    members["plan.json"] = encode_plan(plan)
    members["report.json"] = encode_reproducible(report)
    described = {
        name: Member(name=name, size_bytes=len(data), digest=digest_of(data))
        for name, data in members.items()
    }
    saturates = bool(profile.engine.processor_features) and _multiplies_whole_bytes(plan)
    manifest = Manifest(
        name=model.name,
        version=version,
        target=profile.id,
        profile_digest=profile.digest,
        model_digest=model.digest,
        data_digest=plan.data_digest,
        format=payload.format,
        requires=Requires(
            target=profile.id,
            engine=profile.engine.name,
            engine_min_versions=profile.engine.min_versions,
            agent_min_version=AGENT_MIN_VERSION,
            processor_features=tuple(sorted(profile.engine.processor_features)) if saturates else (),
            otherwise=(profile.engine.otherwise or None) if saturates else None,
            manifest_features=features_of(declared),
        ),
        payload=tuple(described[name] for name in payload_names),
        members=tuple(member for name, member in described.items() if name not in payload_names),
        inputs=with_rows(payload.inputs, model.inputs),
        outputs=payload.outputs,
        preprocessing=declared if isinstance(declared, Preprocessing) else None,
        golden=tuple(samples),
        tolerance=_tolerance(profile, plan, payload, golden, report.parity),
        verdict=report.verdict,
        made_with=made_with,
        heat=heat,
        sound=declared if isinstance(declared, Sound) else None,
        text=declared if isinstance(declared, Text) else None,
    )
    return Artifact(manifest=manifest, members=members)


def artifact_name(model: str, version: str, target: str) -> str:
    """Return ``NAME-VERSION-TARGET.ewa``."""
    return f"{model}-{version}-{target}.ewa"


def checked_version(version: str) -> str:
    """Return ``version`` if it can stand in a file name.

    Raises:
        InputError: It cannot.
    """
    if not _VERSION.match(version):
        raise InputError(
            f"--model-version: expected letters, digits, '.', '+', '_' or '-' (at most 64), got {version!r}.",
            hint="For example 1.4.0.",
        )
    return version


def checked_name(name: str) -> str:
    """Return ``name`` if a model can be called so in a file name.

    Raises:
        InputError: It cannot.
    """
    if not _NAME.match(name):
        raise InputError(
            f"--name: expected letters, digits, '_', '.' or '-' (at most 128, none but a letter, digit or '_' first), got {name!r}.",
            hint="For example mobilenet_v2.",
        )
    return name


def _add_arrays(
    members: dict[str, bytes], stem: str, arrays: Sequence[NDArray[np.generic]]
) -> tuple[str, ...]:
    names: list[str] = []
    for index, array in enumerate(arrays):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        name = f"{stem}_{index}.npy"
        members[name] = buffer.getvalue()
        names.append(name)
    return tuple(names)


def _multiplies_whole_bytes(plan: QuantizationPlan) -> bool:
    """Say whether weights of all 8 bits are multiplied as codes: only their sums saturate on a processor that adds in 16 bits."""
    return plan.precision == "int8" and any(
        tensor.role == "weight"
        and tensor.qparams is not None
        and tensor.qparams.quant_max - tensor.qparams.quant_min >= _SEVEN_BIT_CODES
        for tensor in plan.tensors.values()
    )


def _tolerance(
    profile: CapabilityProfile,
    plan: QuantizationPlan,
    payload: Payload,
    golden: Sequence[Golden],
    parity: Parity | None,
) -> Tolerance:
    """The profile's parity rule; for outputs that the payload gives as floats, in real units of their planned step.

    A network may magnify single codes on which kernels differ, and how far it takes them is seen here, for engine and plan's arithmetic are
    two sets of kernels too: where they are further apart than the rule, and where outputs have no step, twice that is tolerated.
    """
    planned = [plan.tensors.get(tensor.source_name) for tensor in payload.outputs]
    scales = [None if one is None or one.qparams is None else one.qparams.scale[0] for one in planned]
    tolerated = [profile.parity.max_lsb * scale for scale in scales if scale is not None]
    if None in scales:
        sizes = (
            np.abs(array.astype(np.float64)).max(initial=0.0) for sample in golden for array in sample.outputs
        )
        magnified = _OTHER_KERNELS * ((parity and parity.max_unplanned) or 0.0)
        tolerated.append(max(_FLOAT_TOLERANCE * max(float(max(sizes, default=0.0)), 1.0), magnified))
    most, least = profile.parity.max_lsb, profile.parity.min_share_within_one
    if parity is not None and not parity.within_tolerance:
        most = max(most, round(_OTHER_KERNELS * (parity.max_lsb or 0)))
        least = min(least, max(0.0, 1.0 - _OTHER_KERNELS * (1.0 - (parity.within_one_share or 0.0))))
    return Tolerance(
        max_lsb=most,
        min_share_within_one=least,
        absolute=max(tolerated, default=_FLOAT_TOLERANCE),
    )
