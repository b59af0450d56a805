"""`Propagation`: the plan's own arithmetic with any layer switched to float or to codes, from any layer on.

A run keeps every value of one sample; what one layer changes is then followed through the layers behind it alone, and no further than
it changes something. So "all quantized but this one" costs half a run of the network, not a new engine.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.fake_quantize import fake_quantize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.diagnose.layer_runner import LayerRunner
    from host_tools.diagnose.layers import Layer
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan

    Values = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is quantized in one run.

    Attributes:
        quantized: Whether every layer but those singled out is.
        layers: Ranks of those singled out.
        weights: Whether their weights are quantized.
        output: Whether their outputs are, with the edges that re-quantize them and the layers that copy them.
        qparams: Other parameters for their outputs; None leaves the plan's.
    """

    quantized: bool
    layers: frozenset[int] = frozenset()
    weights: bool = False
    output: bool = False
    qparams: QParams | None = None


FLOAT = Setting(quantized=False)
QUANTIZED = Setting(quantized=True)


class Propagation:
    """Runs one plan in settings; several threads may use it at the same time."""

    def __init__(self, runner: LayerRunner, layers: Sequence[Layer], plan: QuantizationPlan) -> None:
        self._runner = runner
        self._layers = layers
        self._plan = plan
        self._reads = [runner.reads(layer) for layer in layers]
        self._owner = {name: self._switch_of(layer) for layer in layers for name in layer.outputs}

    def run(self, feeds: Values, setting: Setting) -> dict[str, NDArray[np.generic]]:
        """Return every value of one sample.

        Args:
            feeds: The graph's inputs by name.
            setting: What is quantized.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        values: dict[str, NDArray[np.generic]] = dict(feeds)
        for layer in self._layers:
            values |= self._outputs(layer, values, setting)
        return values

    def change(self, values: dict[str, NDArray[np.generic]], feeds: Values, setting: Setting) -> Values:
        """Return every value of one sample in a setting that singles out layers.

        Args:
            values: What `run` returned for the same sample and the same ``setting.quantized``; not changed.
            feeds: The graph's inputs by name.
            setting: What is quantized; ``setting.layers`` are those that differ from ``values``, at least one.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        changed: dict[str, NDArray[np.generic]] = {}
        seen = ChainMap(changed, values)
        for layer in self._layers[min(setting.layers) :]:
            is_single = layer.rank in setting.layers
            if is_single:
                found = self._outputs(layer, seen if layer.nodes else feeds, setting)
            elif changed.keys().isdisjoint(self._reads[layer.rank]):
                continue
            else:
                found = self._outputs(layer, seen, setting)
            # What rounds to the same codes changes nothing any more; but the edges behind one that is singled out do.
            changed |= {
                name: array
                for name, array in found.items()
                if is_single or not np.array_equal(array, values[name])
            }
        return seen

    def _outputs(self, layer: Layer, values: Values, setting: Setting) -> dict[str, NDArray[np.generic]]:
        arrays = self._runner.run(
            layer,
            values,
            quantized_weights=setting.weights if layer.rank in setting.layers else setting.quantized,
            is_edge_quantized=lambda value: self._is_quantized(self._owner[value], setting),
        )
        found = dict(zip(layer.outputs, arrays, strict=True))
        if self._is_quantized(self._switch_of(layer), setting):
            for name, array in found.items():
                qparams = self._qparams(layer, name, setting)
                if qparams is not None and array.dtype == np.float32:
                    found[name] = fake_quantize(np.asarray(array, np.float32), qparams)
        return found

    def _qparams(self, layer: Layer, name: str, setting: Setting) -> QParams | None:
        planned = self._plan.tensors[name].qparams
        if planned is not None and setting.qparams is not None and self._switch_of(layer) in setting.layers:
            return setting.qparams
        return planned

    @staticmethod
    def _is_quantized(switch: int, setting: Setting) -> bool:
        return setting.output if switch in setting.layers else setting.quantized

    @staticmethod
    def _switch_of(layer: Layer) -> int:
        return layer.rank if layer.copies is None else layer.copies
