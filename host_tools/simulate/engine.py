"""`SimulatedEngine`: the simulator in the place of an engine, for targets whose device is not on the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent import __version__
from device_agent.contract.errors import EngineError
from device_agent.sources.adapt import to_payload, to_source
from host_tools.simulate.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName
    from host_tools.lower.payload import Payload
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile


class SimulatedEngine:
    """An `Engine` (`device_agent.engines.engine`) that takes and gives what a payload does, and computes what its plan says.

    It never reads the payload's file: whether that says the same is what an engine that runs it can tell.
    """

    def __init__(
        self, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile, payload: Payload
    ) -> None:
        """Prepare the simulation.

        Args:
            model: The float model.
            plan: Its plan.
            profile: The target.
            payload: What the plan was lowered to; its inputs and outputs are described there.

        Raises:
            EdgewrightError: As `simulate` raises.
        """
        self.name: EngineName = profile.engine.name
        self.version = f"{__version__} simulated"
        self.input_names = tuple(tensor.name for tensor in payload.inputs)
        self.output_names = tuple(tensor.name for tensor in payload.outputs)
        self._payload = payload
        self._types = {spec.name: np.dtype(spec.dtype) for spec in model.inputs}
        self._simulator = simulate(model, plan, profile)

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Engine.infer`; also raises what `Simulator.run` raises.

        Raises:
            EngineError: Inputs are not the payload's in number, shape or type.
        """
        expected = [(np.dtype(tensor.dtype), tensor.shape) for tensor in self._payload.inputs]
        got = [(array.dtype, array.shape) for array in inputs]
        if got != expected:
            raise EngineError(f"the simulator: expected inputs {_text(expected)}, got {_text(got)}.")
        feeds = to_source(inputs, self._payload.inputs)
        found = self._simulator.run({name: array.astype(self._types[name]) for name, array in feeds.items()})
        return to_payload(found, self._payload.outputs)

    def close(self) -> None:
        """See `Engine.close`; there is nothing to give back."""


def _text(tensors: Sequence[tuple[np.dtype[np.generic], tuple[int, ...]]]) -> str:
    return ", ".join(f"{dtype} {list(shape)}" for dtype, shape in tensors) or "none"
