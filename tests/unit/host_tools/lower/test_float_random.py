"""Random small networks through the float path of every format: what its engine gives is what ONNX Runtime gives of the model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowering_cases import Case
from lowering_template import Samples
from random_networks import networks
from test_openvino_template import load_in_float32
from tflite_file import assert_float_matches, load_case

from device_agent.engines import onnx as onnx_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.lower.lowering import LOWERINGS, lower
from host_tools.model.reference import FloatRunner
from targets import catalog
from tests.conformance.running import float_plan, float_target

if TYPE_CHECKING:
    from device_agent.engines.engine import EngineLoader
    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from targets.profile import CapabilityProfile, Format


class FloatPathTemplate:
    """Subclass, and name the format and its engine's loader."""

    format_: ClassVar[Format]
    load: ClassVar[EngineLoader]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=networks(), choice=st.integers(0, 2))
    def test_the_file_is_the_float_model(self, case: Case, choice: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            model = load_case(case, Path(folder))
        profiles = self.profiles()
        profile = profiles[choice % len(profiles)]
        self.require_same(model, lower(model, float_plan(model, profile), profile))

    def profiles(self) -> tuple[CapabilityProfile, ...]:
        """Return the targets to write for."""
        return (float_target(self.format_),)

    def require_same(self, model: FloatModel, payload: Payload) -> None:
        """Hold the engine's outputs against ONNX Runtime's of the float model."""
        (sample,) = (arrays for _, arrays in Samples(model, count=1, seed=5).samples())
        expected = FloatRunner(model, threads=1).run(sample)
        engine = self.load(payload.files, threads=1)
        try:
            given_back = engine.infer(to_payload(sample, payload.inputs))
            found = to_source([np.array(one) for one in given_back], payload.outputs)
        finally:
            engine.close()
        assert set(found) == set(expected)
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


class TestOnnx(FloatPathTemplate):
    format_ = "onnx_qdq"
    load = staticmethod(onnx_engine.load)


class TestOpenVino(FloatPathTemplate):
    format_ = "openvino_ir"
    load = staticmethod(load_in_float32)


class TestTflite(FloatPathTemplate):
    format_ = "tflite"

    def profiles(self) -> tuple[CapabilityProfile, ...]:
        """Targets that take newer and older operator versions."""
        return tuple(map(catalog.load, ("cortex-a-tflite", "cortex-a-tflite-legacy", "nxp-neutron")))

    def require_same(self, model: FloatModel, payload: Payload) -> None:
        """On both kernel sets, and what is between the operators too."""
        assert_float_matches(model, payload, count=1)


def test_every_format_is_here() -> None:
    tested = {one.format_ for one in FloatPathTemplate.__subclasses__()}
    assert tested == set(LOWERINGS)
