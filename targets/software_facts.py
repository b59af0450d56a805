"""Facts of what runs a payload, and of the file that it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from targets.document import shown
from targets.facts import Facts, whole_number
from targets.profile import ArtifactFormat, EngineName, EngineRequirement, Format, Sidecar

FORMATS: tuple[Format, ...] = get_args(Format)
SIDECARS: tuple[Sidecar, ...] = get_args(Sidecar)
ENGINES: tuple[EngineName, ...] = ("onnx", "tflite", "openvino")
_FEATURE = re.compile(r"[a-z0-9_]{1,32}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")


def engine_requirement(facts: Facts) -> EngineRequirement:
    """Read which engine runs the target's payloads."""
    versions = versions_by_library(facts, "engine.min_versions")
    features = facts.stated("engine.processor_features", lambda at: _processor_features(facts, at))
    return EngineRequirement(
        name=facts.choice("engine.name", ENGINES),
        min_versions=versions,
        processor_features=features or frozenset(),
        otherwise=facts.stated("engine.otherwise", facts.text) or "",
    )


def _processor_features(facts: Facts, key: str) -> frozenset[str]:
    expected = 'a list of names as in /proc/cpuinfo, e.g. ["avx512_vnni", "avx_vnni"]'
    names = facts.items(key, expected)
    if not names or not all(isinstance(name, str) and _FEATURE.fullmatch(name) for name in names):
        facts.refuse(key, f"expected {expected}, got {shown(names)}")
    return frozenset(map(str, names))


def versions_by_library(facts: Facts, key: str) -> Mapping[str, str]:
    """Read a table of versions by library."""
    expected = 'a table of versions by library, e.g. { onnxruntime = "1.18" }'
    versions = facts.value(key, expected)
    if not isinstance(versions, Mapping) or not versions:
        facts.refuse(key, f"expected {expected}, got {shown(versions)}")
    for library, version in versions.items():
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            facts.refuse(key, f'{library}: expected numbers and dots, e.g. "1.18", got {shown(version)}')
    return versions


def artifact_format(facts: Facts) -> ArtifactFormat:
    """Read what file the target reads."""
    key = "artifact.max_op_versions"
    versions = facts.value(key, "a table of versions by operator, empty when there is no limit")
    if not isinstance(versions, Mapping):
        facts.refuse(key, f"expected a table of versions by operator, got {shown(versions)}")
    for name, version in versions.items():
        if (whole_number(version) or 0) < 1:
            facts.refuse(key, f"{name}: expected a whole number >= 1, got {shown(version)}")
    return ArtifactFormat(
        format=facts.choice("artifact.format", FORMATS),
        opset=facts.whole("artifact.opset", 1, 100),
        max_op_versions=versions,
        qdq_bias=facts.flag("artifact.qdq_bias"),
        quantize_outputs=facts.flag("artifact.quantize_outputs"),
        integer_ops=frozenset(facts.stated("artifact.integer_ops", facts.operators) or ()),
        shields=True if (shields := facts.stated("artifact.shields", facts.flag)) is None else shields,
        sidecars=facts.stated("artifact.sidecars", lambda at: facts.choices(at, SIDECARS)) or (),
    )
