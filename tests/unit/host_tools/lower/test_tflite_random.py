"""Random small networks under random plans: the int8 file is the plan, operator by operator."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowering_cases import Case
from lowering_template import prepare
from random_networks import networks
from test_tflite_template import one_by_one
from tflite_file import every_value, interpreter

from targets import catalog


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=networks(), target=st.sampled_from(["cortex-a-tflite", "cortex-a-tflite-legacy", "nxp-neutron"]), floats=st.sets(st.integers(0, 8), max_size=3))  # fmt: skip
def test_random_networks(case: Case, target: str, floats: set[int]) -> None:
    profile = catalog.load(target)
    with tempfile.TemporaryDirectory() as folder:
        model = prepare(case, Path(folder), profile).model
        names = [node.name for node in model.graph.graph]
        prepared = prepare(
            case, Path(folder), profile, keep_float=[names[index] for index in floats if index < len(names)]
        )
    payload = prepared.lower()
    interpreter(payload)
    sample = prepared.samples()[0]
    found = every_value(payload, sample, payload.tensor_axes)
    for op_type, name, exact in one_by_one(prepared, sample, found):
        qparams = prepared.plan.tensors[name].qparams
        if qparams is None:
            np.testing.assert_allclose(found[name], exact, rtol=1e-3, atol=1e-3, err_msg=name)
            continue
        code = found[name] / qparams.scale[0] + qparams.zero_point[0]
        wanted = exact.astype(np.float64) / qparams.scale[0] + qparams.zero_point[0]
        assert np.abs(np.clip(wanted, qparams.quant_min, qparams.quant_max) - code).max() <= 1.01, (
            op_type,
            name,
        )
