"""What to do about the costliest layers, each tried before it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from host_tools.diagnose.diagnosis import FloatRung, Remedy
from host_tools.diagnose.propagation import Setting
from host_tools.diagnose.ratios import decibels, gain, rounded, share
from host_tools.plan.qparams import real_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.diagnose.layers import Layer
    from host_tools.diagnose.measuring import Bench, Measured
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.progress import Progress

TRIED_LAYERS = 6
RUNGS = (1, 2, 3, 4, 6, 8)
WORTH_DB = 0.1
_WORTH_RANGE_DB = 0.2  # the best of several tries on few samples flatters itself
_PART = 0.2
_WIDENINGS = (0.5, 0.7, 1.4, 2.0)
_POWERS_OF_TWO = (0.5, 2.0)


class Trial:
    """The settings that are tried for one layer, and what came out."""

    def __init__(
        self, layer: Layer, qparams: QParams | None, *, output_part: float, is_power_of_two: bool
    ) -> None:
        """Choose what to try.

        Args:
            layer: The layer.
            qparams: Those of its first output; None where that is float.
            output_part: Share of the layer's error that comes from its output's codes; other ranges are tried where it is large.
            is_power_of_two: Whether the target has no other scales.
        """
        self.layer = layer
        self._qparams = qparams
        single = frozenset({layer.rank})
        self.settings = [
            Setting(quantized=True, layers=single, weights=False, output=True),
            Setting(quantized=True, layers=single, weights=True, output=False),
        ]
        self._widenings: tuple[float, ...] = ()
        if qparams is not None and qparams.axis is None and output_part >= _PART:
            self._widenings = _POWERS_OF_TWO if is_power_of_two else _WIDENINGS
        if qparams is not None:
            self.settings += [
                Setting(
                    quantized=True, layers=single, weights=True, output=True, qparams=widened(qparams, factor)
                )
                for factor in self._widenings
            ]
        self.noises: list[float] = []
        self._before = 0.0

    def take(self, before: float, noises: list[float]) -> None:
        """Take the outputs' noise before, and in each setting."""
        self._before, self.noises = before, noises

    @property
    def gain_weights_db(self) -> float | None:
        """What exact weights buy; None where there are none."""
        return gain(self._before, self.noises[0]) if self.layer.weights else None

    @property
    def gain_output_db(self) -> float | None:
        """What an exact output buys; None where it is float."""
        return gain(self._before, self.noises[1]) if self._qparams is not None else None

    def remedies(self, *, can_float: bool) -> tuple[Remedy, ...]:
        """Return what helped, the most first."""
        found = []
        weights, output = self.gain_weights_db, self.gain_output_db
        if weights is not None and weights >= WORTH_DB and self.layer.nodes:
            found.append(
                Remedy(
                    text="Keep the operator in float."
                    if can_float
                    else "Finer weights (16 bits, a scale a channel); this target cannot run it in float.",
                    recipe=f"[keep_float]\nnodes = [{toml_text(self.layer.name)}]" if can_float else "",
                    gain_db=weights,
                )
            )
        if output is not None and output >= WORTH_DB:
            found.append(Remedy(text="Give its output 16 bits.", recipe="", gain_db=output))
        gains = [
            (gain(self._before, noise), factor)
            for noise, factor in zip(self.noises[2:], self._widenings, strict=True)
        ]
        best, factor = max(gains, default=(0.0, 1.0))
        if best >= _WORTH_RANGE_DB and self._qparams is not None:
            low, high = real_range(widened(self._qparams, factor))
            found.append(
                Remedy(
                    text=f"{'Widen' if factor > 1 else 'Narrow'} the range of its output to {factor:g} times.",
                    recipe=f"[tensors.{toml_text(self.layer.outputs[0])}]\nrange = [{rounded(low)!r}, {rounded(high)!r}]",
                    gain_db=best,
                )
            )
        return tuple(sorted(found, key=lambda remedy: -(remedy.gain_db or 0.0)))


def widened(qparams: QParams, factor: float) -> QParams:
    """Return parameters of ``factor`` times the range about zero."""
    return replace(qparams, scale=tuple(scale * factor for scale in qparams.scale))


def try_remedies(
    bench: Bench, measured: Measured, plan: QuantizationPlan, *, is_power_of_two: bool, progress: Progress
) -> tuple[dict[int, Trial], tuple[FloatRung, ...]]:
    """Try what may help the costliest layers, and what it buys to keep more and more of them in float.

    Returns:
        Trials by rank, and the ladder.

    Raises:
        DataError: A sample cannot be read.
        ModelError: ONNX Runtime failed.
    """
    costly = costliest(bench.switches, measured)
    trials = [
        Trial(
            layer,
            plan.tensors[layer.outputs[0]].qparams,
            output_part=_output_part(measured, layer),
            is_power_of_two=is_power_of_two,
        )
        for layer in costly[:TRIED_LAYERS]
    ]
    operators = [layer for layer in costly if layer.weights and layer.nodes]
    rungs = [operators[:count] for count in RUNGS if count <= len(operators)]
    settings = [setting for trial in trials for setting in trial.settings]
    settings += [
        Setting(quantized=True, layers=frozenset(layer.rank for layer in rung), weights=False, output=True)
        for rung in rungs
    ]
    noises = iter(bench.try_settings(settings, progress))
    for trial in trials:
        trial.take(measured.noise, [next(noises) for _ in trial.settings])
    ladder = tuple(
        FloatRung(layers=tuple(layer.name for layer in rung), sqnr_db=decibels(measured.signal, next(noises)))
        for rung in rungs
    )
    return {trial.layer.rank: trial for trial in trials}, ladder


def costliest(switches: Sequence[Layer], measured: Measured) -> list[Layer]:
    """Return the layers that alone disturb the outputs, the most disturbing first."""
    ordered = sorted(switches, key=lambda layer: -measured.alone[layer.rank])
    return [layer for layer in ordered if measured.alone[layer.rank] > 0.0]


def _output_part(measured: Measured, layer: Layer) -> float:
    error = measured.local.get(layer.outputs[0])
    if error is None:
        return 0.0
    output, weights = float(error.output_noise.sum()), float(error.weights_noise.sum())
    return share(output, output + weights)


def toml_text(text: str) -> str:
    """Return a string as TOML writes it; JSON's escapes are among TOML's, which also wants DEL escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
