"""Functions, reductions and rearrangements in TFLite: beside channels-last neighbours, in float between integers, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from lowering_cases import between, ending
from lowering_template import prepare
from plan_simulation import simulate
from tflite_file import XNNPACK, assert_float_matches, float_payload, names_of, run

from host_tools.errors import LoweringError
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from lowering_cases import Case


def _ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


CASES = (
    between("erf", "m = Erf (a)"),
    between("exp_and_log", "e = Exp (a) o = Add (e, one) m = Log (o)", one=np.float32(1)),
    between("layer_normalization_of_channels", "t = Transpose <perm = [0,2,3,1]> (a) n = LayerNormalization (t, g, h) m = Transpose <perm = [0,3,1,2]> (n)", g=(8,), h=(8,)),
    between("layer_normalization_of_images", "m = LayerNormalization <axis = 1> (a, g, h)", g=(8, 8, 8), h=(8, 8, 8)),
    between("instance_normalization", "m = InstanceNormalization (a, g, h)", g=(8,), h=(8,)),
    between("reduce_max_of_channels", "r = ReduceMax <keepdims = 1> (a, axes) m = Add (a, r)", axes=_ints(1)),
    between("reduce_sum_without_the_axis", "r = ReduceSum <keepdims = 0> (a, axes) u = Unsqueeze (r, at) m = Mul (a, u)", axes=_ints(1), at=_ints(1)),
    between("gather_of_channels", "m = Gather <axis = 1> (a, order)", order=_ints(7, 6, 5, -4, 3, 2, 1, 0)),
    between("where", "c = Greater (a, zero) h = Mul (a, half) m = Where (c, a, h)", zero=np.float32(0), half=np.float32(0.5)),
    between("depth_to_space_crd", "m = DepthToSpace <blocksize = 2, mode = \"CRD\"> (a)", result=(2, 16, 16)),
    between("depth_to_space_dcr", "m = DepthToSpace <blocksize = 2> (a)", result=(2, 16, 16)),
    between("space_to_depth", "m = SpaceToDepth <blocksize = 2> (a)", result=(32, 4, 4)),
    between("tile", "m = Tile (a, times)", result=(8, 16, 8), times=_ints(1, 1, 2, 1)),
    between("expand", "r = ReduceMean <keepdims = 1> (a, axes) e = Expand (r, to) m = Add (a, e)", axes=_ints(2, 3), to=_ints(1, 8, 8, 8)),
    between("global_max_pool", "g = GlobalMaxPool (a) m = Mul (a, g)"),
    between("pow_and_sqrt", "q = Pow (a, two) p = Add (q, one) m = Sqrt (p)", two=np.float32(2), one=np.float32(1)),
    between("logsoftmax_of_channels", "m = LogSoftmax <axis = 1> (a)"),
    between("cumsum_of_channels", "m = CumSum <exclusive = 1, reverse = 1> (a, axis)", axis=np.asarray(1, np.int64)),
    ending("topk_of_channels", "v, i = TopK <axis = 1> (a, k) c = Cast <to = 1> (i) y = Add (v, c)", (1, 3, 8, 8), k=_ints(3)),
    ending("least_of_columns", "y, i = TopK <axis = -1, largest = 0> (a, k)", (1, 8, 8, 2), k=_ints(2)),
    between("remainder_of_floats", "m = Mod <fmod = 1> (a, by)", by=np.float32(-0.3)),
    ending("remainder_of_integers", "i = ArgMax <axis = 1, keepdims = 0> (a) n = Sub (i, four) r = Mod (n, by) y = Cast <to = 1> (r)", (1, 8, 8), four=_ints(4), by=np.asarray(3, np.int64)),
    ending("rows_by_pairs", "y = GatherND (a, pairs)", (3, 8, 8), pairs=_ints(0, 7, 0, -1, -1, 2).reshape(3, 2)),
    ending("computed_pairs", "i = ArgMax <axis = 1, keepdims = 0> (a) n = Sub (i, four) w = Unsqueeze (n, last) z = Sub (w, w) p = Concat <axis = 3> (z, w) y = GatherND (a, p)", (1, 8, 8, 8, 8), four=_ints(4), last=_ints(3)),
    ending("one_hot_of_channels", "i = ArgMax <axis = 1, keepdims = 0> (a) n = Sub (i, four) y = OneHot <axis = 1> (n, depth, values)", (1, 3, 8, 8), four=_ints(4), depth=np.asarray(3, np.int64), values=np.asarray([0.25, 2.0], np.float32)),
    ending("one_hot_along_the_last_axis", "i = ArgMax <axis = 1, keepdims = 0> (a) h = OneHot (i, depth, values) y = Cast <to = 1> (h)", (1, 8, 8, 5), depth=_ints(5), values=_ints(-1, 7)),
    ending("one_hot_of_floats", "y = OneHot (a, depth, values)", (1, 8, 8, 8, 2), depth=np.asarray([2], np.float32), values=np.asarray([0, 1], np.float32)),
    ending("einsum_of_matrices", 'y = Einsum <equation = "bchw,bkhw->bck"> (a, a)', (1, 8, 8)),
    ending("einsum_with_a_constant", 'y = Einsum <equation = "bchw, kc -> bkhw"> (a, kernel)', (1, 5, 8, 8), kernel=(5, 8)),
    ending("einsum_sum", 'y = Einsum <equation = "bchw->wc"> (a)', (8, 8)),
    ending("einsum_outer", 'r = Einsum <equation = "bchw->c"> (a) s = Einsum <equation = "bchw->h"> (a) y = Einsum <equation = "c,h->hc"> (r, s)', (8, 8)),
    ending("einsum_ellipsis", 'y = Einsum <equation = "...hw,...wk->...hk"> (a, a)', (1, 8, 8, 8)),
    ending("einsum_implicit", 'y = Einsum <equation = "bchw,bkwn"> (a, a)', (8, 8, 8, 8)),
    ending("einsum_of_one_side", 'y = Einsum <equation = "bchw,bkxy->bck"> (a, a)', (1, 8, 8)),
    ending("argmax_cast", "i = ArgMax <axis = 1, keepdims = 0> (a) y = Cast <to = 1> (i)", (1, 8, 8)),
)  # fmt: skip
BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=BY_NAME)
def test_in_float(case: Case, tmp_path: Path) -> None:
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)


@pytest.mark.parametrize("name", ["erf", "layer_normalization_of_channels", "where", "gather_of_channels"])
def test_in_float_between_integers(name: str, tmp_path: Path) -> None:
    prepared = prepare(BY_NAME[name], tmp_path, catalog.load("cortex-a-tflite"))
    payload = prepared.lower()
    assert {"QUANTIZE", "DEQUANTIZE"} <= set(names_of(payload))
    qparams = prepared.plan.tensors["y"].qparams
    assert qparams is not None
    for sample in prepared.samples():
        expected = simulate(prepared.model, prepared.plan, sample)["y"]
        off = np.abs(run(payload, sample, XNNPACK)["y"] - expected) / qparams.scale[0]
        assert np.mean(off > 1.5) < 0.02


def test_a_profile_that_wants_it_in_integers_is_refused(tmp_path: Path) -> None:
    profile = catalog.load("cortex-a-tflite")
    ops = {**profile.ops, "Erf": profile.ops["Tanh"]}
    prepared = prepare(BY_NAME["erf"], tmp_path, dataclasses.replace(profile, ops=ops))
    with pytest.raises(LoweringError, match=r"Erf .* in float only") as refused:
        prepared.lower()
    assert "ops.Erf.precisions" in refused.value.hint


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "i = ArgMax <axis = 1, keepdims = 0, select_last_index = 1> (a) y = Cast <to = 1> (i)",
            "select_last_index",
        ),
        (
            "i = ArgMax <axis = 1, keepdims = 0> (a) u = Cast <to = 12> (i) y = Cast <to = 1> (u)",
            "is of type UINT32",
        ),
    ],
)
def test_what_has_no_kernel_is_refused_by_name(body: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match=reason):
        float_payload(ending("refused", body, (1, 8, 8), first=_ints(1)), tmp_path)


@pytest.mark.parametrize(
    ("body", "result", "constants", "reason"),
    [
        ('y = Einsum <equation = "bchh->bch"> (a)', (1, 8, 8), {}, "takes no diagonal"),
        ('y = Einsum <equation = "bchw,bchw,bchw->b"> (a, a, a)', (1,), {}, "3 operands"),
        (
            'r = ReduceMean <keepdims = 1> (a, first) y = Einsum <equation = "...hw,...wk->...hk"> (a, r)',
            (1, 8, 8, 8),
            {"first": _ints(1)},
            "Einsums that repeat an axis are not written",
        ),
        (
            "i = ArgMax <axis = 1, keepdims = 0> (a) m = Mod <fmod = 1> (i, by) y = Cast <to = 1> (m)",
            (1, 8, 8),
            {"by": _ints(3)},
            "fmod = 1 of integers",
        ),
        (
            "y = GatherND <batch_dims = 1> (a, pair)",
            (1, 8),
            {"pair": _ints(1, 2).reshape(1, 2)},
            "batch_dims = 1; GATHER_ND has none",
        ),
        (
            "z = Greater (a, zero) p = GatherND (z, pair) y = Cast <to = 1> (p)",
            (1, 8, 8),
            {"pair": _ints(0, 2).reshape(1, 2), "zero": np.float32(0)},
            "picks BOOL",
        ),
    ],
)
def test_what_a_kernel_does_not_do_is_refused_by_name(
    body: str, result: tuple[int, ...], constants: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(LoweringError, match=reason):
        float_payload(ending("refused", body, result, **constants), tmp_path)


_COMPUTED = "i = ArgMax <axis = 1, keepdims = 0> (a) n = Sub (i, four)"
"""Indices from -4 to 3."""


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (
            "s = Slice (n, from, to) f = Reshape (s, flat) y = Gather <axis = 2> (a, f)",
            (1, 8, 8, 8),
        ),
        ("y = Gather <axis = 1> (a, n)", (1, 1, 8, 8, 8, 8)),
        (
            "s = Slice (n, from, one_each) f = Reshape (s, scalar) y = Gather <axis = 1> (a, f)",
            (1, 8, 8),
        ),
        ("k = Cast <to = 6> (n) y = Gather <axis = 3> (a, k)", (1, 8, 8, 1, 8, 8)),
    ],
)
def test_computed_indices_count_from_the_end_where_they_are_negative(
    body: str, result: tuple[int, ...], tmp_path: Path
) -> None:
    constants = {
        "four": _ints(4), "from": _ints(0, 0, 0), "to": _ints(1, 1, 8), "one_each": _ints(1, 1, 1), "flat": _ints(8), "scalar": _ints(),
    }  # fmt: skip
    used = {
        name: value
        for name, value in constants.items()
        if name == "four" or f" {name})" in body or f" {name}," in body
    }
    model, payload = float_payload(ending("computed", f"{_COMPUTED} {body}", result, **used), tmp_path)
    assert_float_matches(model, payload)
    assert "SELECT_V2" in names_of(payload)


def test_a_computed_index_beyond_the_table_fails_and_gives_no_other_row(tmp_path: Path) -> None:
    body = "i = ArgMax <axis = 1, keepdims = 0> (a) n = Add (i, far) y = Gather <axis = 1> (a, n)"
    _, payload = float_payload(ending("beyond", body, (1, 1, 8, 8, 8, 8), far=_ints(100)), tmp_path)
    with pytest.raises(RuntimeError, match=r"(?i)gather"):
        run(payload, {"x": np.ones((1, 4, 8, 8), np.float32)}, XNNPACK)


@pytest.mark.parametrize(
    "line",
    ["y = Where (c, f, z)", "h = Where (c, f, z) y = Pow (h, z)", "l = Less (f, z) y = Cast <to = 1> (l)"],
)
def test_more_axes_than_kernels_broadcast_are_refused(line: str, tmp_path: Path) -> None:
    body = (
        f"f = Unsqueeze (a, at) n = Neg (f) c = Greater (f, n) z = ReduceMean <keepdims = 1> (f, last) {line}"
    )
    case = ending("axes", body, (1, 8, 1, 8, 8), at=_ints(2), last=_ints(4))
    with pytest.raises(LoweringError, match="axes that differ in shape"):
        float_payload(case, tmp_path)
