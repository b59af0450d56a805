"""`Facts` to `CapabilityProfile`: which facts there are, what each may say, and which must agree.

No files and no TOML here; `catalog` resolves those.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

from targets.document import refuse, shown
from targets.facts import Facts, finite_number, one_of, whole_number
from targets.operators import WITH_CONSTANTS
from targets.profile import (
    GROUPED,
    LARGEST_GROUP,
    UNCALIBRATED,
    AccumulatorRules,
    ActivationRules,
    ArtifactFormat,
    BiasRules,
    CapabilityProfile,
    CostRules,
    EngineName,
    EngineRequirement,
    Fact,
    Fallback,
    FallbackRules,
    FixedOutput,
    Format,
    Interface,
    OpConstraints,
    OpSupport,
    ParityRules,
    PlanPrecision,
    Precision,
    Proof,
    Rounding,
    RoundingRules,
    ScaleKind,
    ScaleRules,
    Sidecar,
    TensorType,
    UncalibratedRules,
    WeightRules,
    ZeroPointRule,
)

if TYPE_CHECKING:
    from targets.document import Entry

BIAS_SCALES: tuple[Literal["input_times_weight"]] = ("input_times_weight",)
PROOFS: tuple[Proof, ...] = get_args(Proof)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ZERO_POINTS: tuple[ZeroPointRule, ...] = get_args(ZeroPointRule)
SCALE_KINDS: tuple[ScaleKind, ...] = get_args(ScaleKind)
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)
FORMATS: tuple[Format, ...] = get_args(Format)
TENSOR_TYPES: tuple[TensorType, ...] = get_args(TensorType)
SIDECARS: tuple[Sidecar, ...] = get_args(Sidecar)
MODES = ("nearest", "linear", "cubic", "constant", "reflect", "edge", "wrap")
ENGINES: tuple[EngineName, ...] = ("onnx", "tflite", "openvino")
_FEATURE = re.compile(r"[a-z0-9_]{1,32}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")


def assemble(
    entries: Mapping[str, Entry], *, origin: str, identity: str, title: str, proof: str, digest: str
) -> CapabilityProfile:
    """Judge every fact and build the profile.

    Args:
        entries: Facts by dotted key, those of a base profile included.
        origin: The profile's file, for messages about facts that are missing.
        identity: The profile's id.
        title: One line for people.
        proof: One of `targets.profile.Proof`.
        digest: ``sha256:…`` of the file or files.

    Raises:
        ProfileError: A fact is missing, of the wrong type, out of its range, unknown, or disagrees with
            another.
    """
    facts = Facts(entries, origin)
    support = _ops(facts)
    profile = CapabilityProfile(
        id=identity,
        title=title,
        proof=one_of(proof, PROOFS, lambda what: refuse(origin, "proof", what)),
        digest=digest,
        weights=_weights(facts),
        activations=_activations(facts),
        scale=_scale(facts),
        bias=_bias(facts),
        rounding=_rounding(facts),
        accumulator=_accumulator(facts),
        ops=support,
        same_scale=_same_scale(facts, support),
        fixed_outputs=_fixed_outputs(facts, support),
        fusions=_fusions(facts),
        interface=_interface(facts),
        fallback=_fallback(facts),
        artifact=_artifact(facts),
        parity=_parity(facts),
        engine=_engine(facts),
        facts=tuple(Fact(key=key, value=entry.value, source=entry.source) for key, entry in entries.items()),
        cost=_cost(facts),
        uncalibrated={
            precision: rules
            for precision in UNCALIBRATED
            if (rules := _uncalibrated(facts, precision)) is not None
        },
    )
    profile = dataclasses.replace(profile, wide=_wide(facts, profile))
    facts.check_all_asked()
    return profile


def _weights(facts: Facts) -> WeightRules:
    return WeightRules(
        bits=facts.whole("weights.bits", 4, 16),
        signed=facts.flag("weights.signed"),
        symmetric=facts.flag("weights.symmetric"),
        narrow_range=facts.flag("weights.narrow_range"),
        per_channel_ops=frozenset(facts.operators("weights.per_channel_ops")),
    )


def _activations(facts: Facts) -> ActivationRules:
    bits = facts.whole("activations.bits", 8, 16)
    if bits not in (8, 16):
        facts.refuse("activations.bits", f"expected 8 or 16, got {bits}")
    return ActivationRules(
        bits=bits,
        signed=facts.flag("activations.signed"),
        zero_point=facts.choice("activations.zero_point", ZERO_POINTS),
    )


def _scale(facts: Facts) -> ScaleRules:
    return ScaleRules(
        kind=facts.choice("scale.kind", SCALE_KINDS),
        minimum=facts.number("scale.minimum", low=0.0, above=True),
        minimum_range=facts.number("scale.minimum_range", low=0.0),
    )


def _bias(facts: Facts) -> BiasRules:
    bits = facts.whole("bias.bits", 20, 64)
    if bits not in (20, 32, 40, 64):
        facts.refuse("bias.bits", f"expected 20, 32, 40 or 64, got {bits}")
    scale = facts.choice("bias.scale", BIAS_SCALES)
    return BiasRules(quantized=facts.flag("bias.quantized"), bits=bits, scale=scale)


def _rounding(facts: Facts) -> RoundingRules:
    return RoundingRules(
        weights=facts.choice("rounding.weights", ROUNDINGS),
        activations=facts.choice("rounding.activations", ROUNDINGS),
        requantization=facts.choice("rounding.requantization", ROUNDINGS),
    )


def _accumulator(facts: Facts) -> AccumulatorRules:
    return AccumulatorRules(
        bits=facts.whole("accumulator.bits", 16, 64),
        max_weight_sum=facts.optional("accumulator.max_weight_sum", lambda key: facts.whole(key, 1)),
    )


def _ops(facts: Facts) -> dict[str, OpSupport]:
    names = dict.fromkeys(key.split(".")[1] for key in facts.under("ops"))
    return {name: _op(facts, f"ops.{name}") for name in names}


def _op(facts: Facts, key: str) -> OpSupport:
    def limit(name: str) -> int | None:
        return facts.stated(f"{key}.{name}", lambda at: facts.whole(at, 1))

    return OpSupport(
        precisions=facts.choices(f"{key}.precisions", PRECISIONS),
        constraints=OpConstraints(
            max_rank=limit("max_rank"),
            max_batch=limit("max_batch"),
            max_stride=limit("max_stride"),
            max_kernel=limit("max_kernel"),
            max_dilation=limit("max_dilation"),
            axes=facts.stated(f"{key}.axes", lambda at: _axes(facts, at)),
            modes=facts.stated(f"{key}.modes", lambda at: facts.choices(at, MODES)),
            constant_operand=facts.stated(f"{key}.constant_operand", facts.flag) or False,
        ),
        requantization_ratio=facts.stated(f"{key}.requantization_ratio", lambda at: _ratio(facts, at)),
    )


def _axes(facts: Facts, key: str) -> tuple[int, ...]:
    values = facts.items(key, "a list of axes")
    axes = tuple(axis for axis in map(whole_number, values) if axis is not None and axis >= 0)
    if len(axes) != len(values) or not axes:
        facts.refuse(key, f"expected a list of whole numbers >= 0, got {shown(values)}")
    return axes


def _ratio(facts: Facts, key: str) -> tuple[float, float]:
    values = facts.items(key, "[low, high]")
    bounds = [finite_number(value) for value in values]
    if len(bounds) != 2 or bounds[0] is None or bounds[1] is None or not 0.0 <= bounds[0] < bounds[1]:
        facts.refuse(key, f"expected [low, high] with 0 <= low < high, got {shown(values)}")
    return bounds[0], bounds[1]


def _same_scale(facts: Facts, support: Mapping[str, OpSupport]) -> frozenset[str]:
    names: set[str] = set()
    for key in facts.under("same_scale"):
        for name in facts.operators(key):
            if name not in support:
                facts.refuse(key, f"operator {name!r} has no support listed in ops or op_groups")
            names.add(name)
    return frozenset(names)


def _fixed_outputs(
    facts: Facts, support: Mapping[str, object], section: str = "fixed_outputs"
) -> dict[str, FixedOutput]:
    outputs: dict[str, FixedOutput] = {}
    for key in facts.under(section):
        name = facts.operator(key, key.split(".", 1)[1])
        if name not in support:
            facts.refuse(key, f"operator {name!r} has no support listed in ops or op_groups")
        output = facts.optional(key, lambda at: _fixed_output(facts, at))
        if output is not None:
            outputs[name] = output
    return outputs


def _fixed_output(facts: Facts, key: str) -> FixedOutput:
    value = facts.value(key, "{ scale, zero_point }")
    scale = finite_number(value.get("scale")) if isinstance(value, Mapping) else None
    zero_point = whole_number(value.get("zero_point")) if isinstance(value, Mapping) else None
    named = isinstance(value, Mapping) and set(value) == {"scale", "zero_point"}
    if not named or scale is None or scale <= 0.0 or zero_point is None or not -128 <= zero_point <= 127:
        expected = "{ scale = a number > 0, zero_point = -128 to 127 }"
        facts.refuse(key, f"expected {expected}, got {shown(value)}")
    return FixedOutput(scale=scale, zero_point=zero_point)


_WIDE_FACTS = ("wide.signed", "wide.zero_point", "wide.bias_bits", "wide.accumulator_bits")


def _wide(facts: Facts, narrow: CapabilityProfile) -> CapabilityProfile | None:
    """Read what the target does on 16-bit activations; None where it says nothing of them, or ``wide.ops = "none"``."""
    key = "wide.ops"
    names = facts.stated(key, facts.operators)
    if names is None:
        for inherited in (*_WIDE_FACTS, *facts.under("wide_outputs")):
            facts.stated(
                inherited, lambda at: facts.value(at, "a fact")
            )  # of the base, where this one has none
        return None
    if narrow.activations.bits != 8:
        facts.refuse(
            key, "activations.bits is 16 already: expected no operators here", hint="Leave [wide] out."
        )
    for name in names:
        if "int8" not in (narrow.ops[name].precisions if name in narrow.ops else ()):
            facts.refuse(
                key,
                f"{name} has no int8 kernel: expected operators whose ops.{name}.precisions hold int8",
                hint=f"Leave {name} out: 16 bits are for operators that cost too much in 8.",
            )
    bits = facts.whole("wide.bias_bits", 32, 64)
    if bits not in (32, 40, 64):
        facts.refuse("wide.bias_bits", f"expected 32, 40 or 64, got {bits}")
    return dataclasses.replace(
        narrow,
        activations=ActivationRules(
            bits=16, signed=facts.flag("wide.signed"), zero_point=facts.choice("wide.zero_point", ZERO_POINTS)
        ),
        bias=dataclasses.replace(narrow.bias, bits=bits),
        accumulator=dataclasses.replace(
            narrow.accumulator, bits=facts.whole("wide.accumulator_bits", 32, 64)
        ),
        ops={
            name: OpSupport(precisions=("int16",), constraints=narrow.ops[name].constraints) for name in names
        },
        fixed_outputs=_fixed_outputs(facts, dict.fromkeys(names), section="wide_outputs"),
    )


def _cost(facts: Facts) -> CostRules:
    def factor(name: str, otherwise: float) -> float:
        found = facts.stated(f"cost.{name}", lambda at: facts.number(at, low=0.0, above=True))
        return otherwise if found is None else found

    guessed = CostRules()
    return CostRules(int16=factor("int16", guessed.int16), float32=factor("float32", guessed.float32))


def _uncalibrated(facts: Facts, section: PlanPrecision) -> UncalibratedRules | None:
    """Read what the target does in a precision without calibration; None where it says nothing of it, or ``ops = "none"``."""
    names = facts.stated(f"{section}.ops", lambda at: facts.operators(at, WITH_CONSTANTS))
    if names is None:
        for inherited in facts.under(section):
            facts.stated(inherited, lambda at: facts.value(at, "a fact"))  # of the base
        return None
    min_versions = facts.stated(f"{section}.min_versions", lambda at: _versions(facts, at)) or {}
    if section not in (*GROUPED, "int8-dynamic"):
        return UncalibratedRules(
            ops=frozenset(names), symmetric=True, groups=(), partial_group=True, min_versions=min_versions
        )
    key = f"{section}.groups"
    groups = tuple(whole_number(size) for size in facts.items(key, "a list of group sizes"))
    sizes = tuple(size for size in groups if size is not None and 0 <= size <= LARGEST_GROUP)
    if not sizes or len(sizes) != len(groups) or len(set(sizes)) != len(sizes):
        facts.refuse(key, f"expected whole numbers from 0 to {LARGEST_GROUP}, each once, got {shown(groups)}")
    return UncalibratedRules(
        ops=frozenset(names),
        symmetric=facts.flag(f"{section}.symmetric"),
        groups=sizes,
        partial_group=facts.stated(f"{section}.partial_group", facts.flag) is not False,
        min_versions=min_versions,
    )


def _fusions(facts: Facts) -> tuple[tuple[str, ...], ...]:
    chains: dict[tuple[str, ...], None] = {}
    for key in facts.under("fusions"):
        for chain in facts.items(key, "a list of operator chains"):
            if not isinstance(chain, tuple) or len(chain) < 2:
                expected = 'chains of two or more operators, e.g. ["Conv", "Relu"]'
                facts.refuse(key, f"expected {expected}, got {shown(chain)}")
            chains[tuple(facts.operator(key, name) for name in chain)] = None
    return tuple(chains)


def _interface(facts: Facts) -> Interface:
    return Interface(
        input_type=facts.choice("interface.input_type", TENSOR_TYPES),
        output_type=facts.choice("interface.output_type", TENSOR_TYPES),
    )


def _fallback(facts: Facts) -> FallbackRules:
    return FallbackRules(
        to=facts.choice("fallback.to", FALLBACKS),
        max_float_ops=facts.optional("fallback.max_float_ops", lambda key: facts.whole(key, 0)),
        max_partitions=facts.optional("fallback.max_partitions", lambda key: facts.whole(key, 1)),
    )


def _parity(facts: Facts) -> ParityRules:
    return ParityRules(
        max_lsb=facts.whole("parity.max_lsb", 0, 255),
        min_share_within_one=facts.number("parity.min_share_within_one", low=0.0, high=1.0),
    )


def _engine(facts: Facts) -> EngineRequirement:
    versions = _versions(facts, "engine.min_versions")
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


def _versions(facts: Facts, key: str) -> Mapping[str, str]:
    expected = 'a table of versions by library, e.g. { onnxruntime = "1.18" }'
    versions = facts.value(key, expected)
    if not isinstance(versions, Mapping) or not versions:
        facts.refuse(key, f"expected {expected}, got {shown(versions)}")
    for library, version in versions.items():
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            facts.refuse(key, f'{library}: expected numbers and dots, e.g. "1.18", got {shown(version)}')
    return versions


def _artifact(facts: Facts) -> ArtifactFormat:
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
