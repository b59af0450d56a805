"""`Facts` to `CapabilityProfile`: which facts there are, what each may say, and which must agree.

No files and no TOML here; `catalog` resolves those.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, get_args

from targets.document import refuse
from targets.facts import Facts, one_of
from targets.operator_facts import fixed_outputs, fusions, operators, same_scale
from targets.precision_facts import uncalibrated, wide
from targets.profile import (
    UNCALIBRATED,
    ZERO_POINTS,
    AccumulatorRules,
    ActivationRules,
    BiasRules,
    CapabilityProfile,
    CostRules,
    Fact,
    Fallback,
    FallbackRules,
    Interface,
    ParityRules,
    Proof,
    Rounding,
    RoundingRules,
    ScaleKind,
    ScaleRules,
    TensorType,
    WeightRules,
)
from targets.software_facts import artifact_format, engine_requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.document import Entry

BIAS_SCALES: tuple[Literal["input_times_weight"]] = ("input_times_weight",)
PROOFS: tuple[Proof, ...] = get_args(Proof)
SCALE_KINDS: tuple[ScaleKind, ...] = get_args(ScaleKind)
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)
TENSOR_TYPES: tuple[TensorType, ...] = get_args(TensorType)


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
    support = operators(facts)
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
        same_scale=same_scale(facts, support),
        fixed_outputs=fixed_outputs(facts, support),
        fusions=fusions(facts),
        interface=_interface(facts),
        fallback=_fallback(facts),
        artifact=artifact_format(facts),
        parity=_parity(facts),
        engine=engine_requirement(facts),
        facts=tuple(Fact(key=key, value=entry.value, source=entry.source) for key, entry in entries.items()),
        cost=_cost(facts),
        uncalibrated={
            precision: rules
            for precision in UNCALIBRATED
            if (rules := uncalibrated(facts, precision)) is not None
        },
    )
    profile = dataclasses.replace(profile, wide=wide(facts, profile))
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


def _cost(facts: Facts) -> CostRules:
    def factor(name: str, otherwise: float) -> float:
        found = facts.stated(f"cost.{name}", lambda at: facts.number(at, low=0.0, above=True))
        return otherwise if found is None else found

    guessed = CostRules()
    return CostRules(int16=factor("int16", guessed.int16), float32=factor("float32", guessed.float32))


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
