"""Facts by hand for the tests of rules: a Conv of int8 that every rule of `cortex-a-tflite` likes, and what is changed in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor

if TYPE_CHECKING:
    from targets.profile import CapabilityProfile


def tensor(name: str, scale: float = 0.05, zero_point: int = 3, **changes: Any) -> LintedTensor:
    """An activation of int8, 1x8x8x4."""
    return replace(
        LintedTensor(
            name=name, dtype="int8", shape=(1, 8, 8, 4), scale=(scale,), zero_point=(zero_point,), axis=None
        ),
        **changes,
    )


def real(name: str, **changes: Any) -> LintedTensor:
    """An activation of float32."""
    return tensor(name, dtype="float32", scale=(), zero_point=(), **changes)


def constant(name: str, values: object, dtype: str = "int8", **changes: Any) -> LintedTensor:
    codes = np.asarray(values, dtype)
    given = {"scale": (0.01,), "zero_point": (0,), **changes}
    return LintedTensor(name=name, dtype=dtype, shape=codes.shape, codes=codes, is_constant=True, **given)


WEIGHT = constant("w", np.full((4, 1, 1, 4), 100))
BIAS = constant("b", [1, 2, 3, 4], "int32", scale=(0.05 * 0.01,))


def conv(**changes: Any) -> LintedOp:
    return replace(
        LintedOp(
            name="y",
            kind="CONV_2D",
            stands_for=("Conv",),
            version=3,
            data=(tensor("x"),),
            weight=WEIGHT,
            bias=BIAS,
            outputs=(tensor("y", 0.1, -5),),
            strides=(1, 1),
            kernel=(1, 1),
            dilations=(1, 1),
        ),
        **changes,
    )


def op(kind: str, *stands_for: str, **changes: Any) -> LintedOp:
    given: dict[str, Any] = {"data": (tensor("x"),), "outputs": (tensor("y"),), **changes}
    return LintedOp(name="y", kind=kind, stands_for=stands_for, **given)


def file(*ops: LintedOp, **changes: Any) -> LintedFile:
    """A file of these operators; its inputs and outputs are those of the first and the last."""
    ends = {"inputs": ops[0].data[:1], "outputs": ops[-1].outputs}
    return replace(LintedFile(format="tflite", schema=3, ops=ops, **ends), **changes)


def qdq(*ops: LintedOp, **changes: Any) -> LintedFile:
    return file(*ops, format="onnx_qdq", schema=21, **changes)


def changed(profile: CapabilityProfile, part: str, **facts: Any) -> CapabilityProfile:
    """Return the profile with facts of one table changed."""
    return replace(profile, **{part: replace(getattr(profile, part), **facts)})


def limited(profile: CapabilityProfile, op_type: str, **limits: Any) -> CapabilityProfile:
    """Return the profile with static limits on one operator."""
    support = profile.ops[op_type]
    constraints = replace(support.constraints, **limits)
    return replace(profile, ops={**profile.ops, op_type: replace(support, constraints=constraints)})
