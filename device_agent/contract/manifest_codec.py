"""`encode` and `decode` a `Manifest`: canonical JSON and back, with every rule that a manifest obeys.

Canonical: ``schema_version`` first, then the fields in the order of their declaration, unknown fields last (``heat``, of 1.1, and
what is needed of the processor, of 1.2, ``preprocessing.crop``, of 1.3, ``sound`` and ``text``, of 1.4, and what 1.5 brought, only where
they are declared),
compact UTF-8, one newline at the end. The same manifest always gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Literal, get_args

from device_agent.contract.document import read_document, write_document
from device_agent.contract.fields import Fields
from device_agent.contract.heat_codec import decode_heat
from device_agent.contract.manifest import (
    MANIFEST_VERSION,
    EngineName,
    FormatName,
    GoldenSample,
    Manifest,
    Member,
    PayloadTensor,
    Preprocessing,
    Requires,
    Tolerance,
    Verdict,
    WireType,
)
from device_agent.contract.preparation import require_one_preparation
from device_agent.contract.sound_codec import decode_sound, require_sound_agreement
from device_agent.contract.text_codec import decode_text, require_text_agreement

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_TENSORS = 256
MAX_MEMBERS = 4096
MAX_RANK = 8
MAX_SIDE_PIXELS = 16384
MAX_NAME = 200
"""Longest member name, in characters."""

MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MODEL_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
TARGET_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
PROCESSOR_FEATURE = re.compile(r"[a-z0-9_]{1,64}")
MANIFEST_FEATURE = re.compile(r"[a-z0-9_]{1,64}")
NUMERIC_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}")
MEMBER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
"""Relative, POSIX, ASCII; no segment begins with a dot or a hyphen: no ``..``, no hidden file, no option."""

CODE_RANGE = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(1 << 31), (1 << 31) - 1),
}
"""Types that may hold quantization codes, with their lowest and highest code."""
_ROW_NUMBERS = (*CODE_RANGE, "int64")

_FLOAT32_MAX = 3.4028234663852886e38
_FLOAT32_TINY = 1.401298464324817e-45
_MAX_EXTENT = (1 << 31) - 1
_MAX_SIZE = (1 << 53) - 1
_MAX_LIBRARIES = 16
_MAX_FEATURES = 16
_CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}


def encode(manifest: Manifest) -> bytes:
    """Write a manifest as canonical JSON.

    Raises:
        ContractError: The manifest breaks a rule, so no reader would take it.
    """
    document = {"schema_version": manifest.schema_version, **_plain(manifest)}
    data = write_document(document, where="manifest") + b"\n"
    decode(data, where="manifest")  # The rules stand in one place, and a writer obeys them too.
    return data


def decode(data: bytes, *, where: str) -> Manifest:
    """Read a manifest, strictly: types, ranges, names, and that its parts agree with each other.

    Args:
        data: The document.
        where: File it came from, for messages.

    Raises:
        SchemaVersionError: It is of a newer major version.
        ContractError: It breaks a rule; the message names file and key.
    """
    fields = Fields(read_document(data, where=where, max_bytes=MAX_MANIFEST_BYTES), where=where)
    schema_version = fields.schema_version(MANIFEST_VERSION)
    preprocessing = _preprocessing(fields.child("preprocessing")) if fields.has("preprocessing") else None
    manifest = Manifest(
        schema_version=schema_version,
        name=fields.text("name", pattern=MODEL_NAME),
        version=fields.text("version", pattern=MODEL_VERSION),
        target=fields.text("target", pattern=TARGET_ID),
        profile_digest=fields.digest("profile_digest"),
        model_digest=fields.digest("model_digest"),
        data_digest=fields.digest("data_digest"),
        format=fields.choice("format", _FORMATS),
        requires=_requires(fields.child("requires")),
        payload=tuple(_member(item) for item in fields.children("payload", least=1, most=MAX_MEMBERS)),
        members=tuple(_member(item) for item in fields.children("members", least=0, most=MAX_MEMBERS)),
        inputs=tuple(_tensor(item) for item in fields.children("inputs", least=1, most=MAX_TENSORS)),
        outputs=tuple(_tensor(item) for item in fields.children("outputs", least=1, most=MAX_TENSORS)),
        preprocessing=preprocessing,
        golden=tuple(_golden(item) for item in fields.children("golden", least=0, most=MAX_MEMBERS)),
        tolerance=_tolerance(fields.child("tolerance")),
        verdict=fields.choice("verdict", _VERDICTS),
        made_with=fields.text_map("made_with", most=MAX_TENSORS),
        heat=decode_heat(fields.child("heat")) if fields.has("heat") else None,
        sound=decode_sound(fields.child("sound")) if fields.has("sound") else None,
        text=decode_text(fields.child("text")) if fields.has("text") else None,
        extra=fields.unknown(),
    )
    _require_agreement(manifest, fields)
    return manifest


def _plain(value: object) -> dict[str, object]:
    """Turn one of our dataclasses into JSON types, fields as declared, unknown ones last."""
    document: dict[str, object] = {}
    for field in dataclasses.fields(value):  # type: ignore[arg-type]  # only dataclasses come here
        if field.name not in ("extra", "schema_version"):
            document[field.name] = _plain_value(getattr(value, field.name))
    # What is not there is left out, so that an older manifest keeps its bytes.
    for later in ("heat", "crop", "otherwise", "sound", "text", "mask", "types", "max_bytes", "rows"):
        if later in document and document[later] is None:
            del document[later]
    if isinstance(value, Requires):
        for later in ("processor_features", "manifest_features"):
            if not document[later]:
                del document[later]
    extra: dict[str, object] = value.extra  # type: ignore[attr-defined]  # every one is Extensible
    return {**document, **{key: item for key, item in extra.items() if key not in document}}


def _plain_value(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return _plain(value)
    if isinstance(value, tuple):
        return [_plain_value(item) for item in value]
    if hasattr(value, "items"):
        return dict(sorted(value.items()))
    return value


def _requires(fields: Fields) -> Requires:
    needed = (
        fields.texts("processor_features", least=1, most=_MAX_FEATURES, pattern=PROCESSOR_FEATURE)
        if fields.has("processor_features")
        else ()
    )
    _require_unique(fields, "processor_features", needed)
    otherwise = fields.text("otherwise", pattern=TARGET_ID) if fields.has("otherwise") else None
    if otherwise is not None and not needed:
        fields.refuse("otherwise", "processor_features beside it", otherwise)
    declared = (
        fields.texts("manifest_features", least=1, most=_MAX_FEATURES, pattern=MANIFEST_FEATURE)
        if fields.has("manifest_features")
        else ()
    )
    _require_unique(fields, "manifest_features", declared)
    return Requires(
        target=fields.text("target", pattern=TARGET_ID),
        engine=fields.choice("engine", _ENGINES),
        engine_min_versions=fields.text_map(
            "engine_min_versions", least=1, most=_MAX_LIBRARIES, pattern=NUMERIC_VERSION
        ),
        agent_min_version=fields.text("agent_min_version", pattern=NUMERIC_VERSION),
        processor_features=needed,
        otherwise=otherwise,
        manifest_features=declared,
        extra=fields.unknown(),
    )


def _member(fields: Fields) -> Member:
    name = fields.text("name", pattern=MEMBER_NAME, longest=MAX_NAME)
    return Member(
        name=name,
        size_bytes=fields.integer("size_bytes", low=0, high=_MAX_SIZE),
        digest=fields.digest("digest"),
        extra=fields.unknown(),
    )


def _tensor(fields: Fields) -> PayloadTensor:
    shape = fields.integers("shape", least=0, most=MAX_RANK, low=1, high=_MAX_EXTENT)
    dtype = fields.choice("dtype", _WIRE_TYPES)
    axes = fields.integers("source_axes", least=0, most=MAX_RANK, low=0, high=MAX_RANK - 1)
    if sorted(axes) != list(range(len(shape))):
        fields.refuse("source_axes", f"a permutation of the {len(shape)} axes", axes)
    if math.prod(shape) > _MAX_EXTENT:
        fields.refuse("shape", f"at most {_MAX_EXTENT} elements", shape)
    scale = fields.number("scale", low=_FLOAT32_TINY, high=_FLOAT32_MAX) if fields.has("scale") else None
    zero_point = None
    if fields.has("zero_point"):
        low, high = CODE_RANGE.get(dtype, (1, 0))
        if low > high:
            fields.refuse("zero_point", f"null, because {dtype} holds no codes", fields.value("zero_point"))
        zero_point = fields.integer("zero_point", low=low, high=high)
    if (scale is None) != (zero_point is None) and dtype != "float32":
        fields.refuse("zero_point", "scale and zero_point together, or neither", zero_point)
    rows = fields.integer("rows", low=1, high=_MAX_EXTENT) if fields.has("rows") else None
    if rows is not None and (scale is not None or dtype not in _ROW_NUMBERS):
        fields.refuse("rows", "null, because the tensor holds no numbers of rows", rows)
    return PayloadTensor(
        name=fields.text("name"),
        shape=shape,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        source_name=fields.text("source_name"),
        source_axes=axes,
        rows=rows,
        extra=fields.unknown(),
    )


def _preprocessing(fields: Fields) -> Preprocessing:
    color = fields.choice("color", _COLORS)
    channels = _CHANNELS[color]
    height, width = fields.integers("resize", least=2, most=2, low=1, high=MAX_SIDE_PIXELS)
    limit = _FLOAT32_MAX
    crop = (
        fields.integers("crop", least=2, most=2, low=1, high=MAX_SIDE_PIXELS) if fields.has("crop") else None
    )
    if crop is not None and (crop[0] > height or crop[1] > width):
        fields.refuse("crop", f"at most what resize is, {[height, width]}", crop)
    return Preprocessing(
        resize=(height, width),
        resample=fields.choice("resample", ("nearest", "bilinear", "bicubic")),
        color=color,
        layout=fields.choice("layout", ("NCHW", "NHWC")),
        mean=fields.numbers("mean", least=channels, most=channels, low=-limit, high=limit),
        std=fields.numbers("std", least=channels, most=channels, low=_FLOAT32_TINY, high=limit),
        crop=None if crop is None else (crop[0], crop[1]),
        extra=fields.unknown(),
    )


def _golden(fields: Fields) -> GoldenSample:
    return GoldenSample(
        inputs=fields.texts("inputs", least=1, most=MAX_TENSORS),
        outputs=fields.texts("outputs", least=1, most=MAX_TENSORS),
        extra=fields.unknown(),
    )


def _tolerance(fields: Fields) -> Tolerance:
    return Tolerance(
        max_lsb=fields.integer("max_lsb", low=0, high=_MAX_EXTENT),
        min_share_within_one=fields.number("min_share_within_one", low=0.0, high=1.0),
        absolute=fields.number("absolute", low=0.0, high=_FLOAT32_MAX),
        extra=fields.unknown(),
    )


def _require_agreement(manifest: Manifest, fields: Fields) -> None:
    """Check what no single field can: names are unique, the parts name each other rightly."""
    if manifest.requires.target != manifest.target:
        fields.refuse("requires.target", f"the manifest's target {manifest.target}", manifest.requires.target)
    names = [member.name for member in (*manifest.payload, *manifest.members)]
    # Case is folded so that an archive means the same on file systems that fold it.
    _require_unique(fields, "members", [MANIFEST_NAME, *(name.lower() for name in names)])
    for key, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        _require_unique(fields, key, [tensor.name for tensor in tensors])
    known = {member.name for member in manifest.members}
    for index, sample in enumerate(manifest.golden):
        for key, files, tensors in (
            ("inputs", sample.inputs, manifest.inputs),
            ("outputs", sample.outputs, manifest.outputs),
        ):
            if len(files) != len(tensors):
                fields.refuse(f"golden[{index}].{key}", f"{len(tensors)} names, one a tensor", files)
            for name in files:
                if name not in known or not name.endswith(".npy"):
                    fields.refuse(f"golden[{index}].{key}", "names of .npy members", name)
    require_one_preparation(manifest, fields)
    if manifest.sound is not None:
        require_sound_agreement(manifest, manifest.sound, fields)
    if manifest.text is not None:
        require_text_agreement(manifest, manifest.text, fields)


def _require_unique(fields: Fields, key: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            fields.refuse(key, "every name once", name)
        seen.add(name)


_COLORS: tuple[Literal["RGB", "BGR", "L"], ...] = ("RGB", "BGR", "L")
_FORMATS: tuple[FormatName, ...] = get_args(FormatName)
_ENGINES: tuple[EngineName, ...] = get_args(EngineName)
_WIRE_TYPES: tuple[WireType, ...] = get_args(WireType)
_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
