"""What the telemetry of simulated devices says, by hour of the day, and before against after, as gates want it.

Sums are kept for each device and hour; a device's figures before and after are taken from the hours that it has on both
sides, as `host_tools.review.analysis.pairing` does, since load and heat have their hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.fleet.rollout.gates import Crashes, Pairs
from host_tools.review.analysis.measures import MIN_LATENCIES, MIN_SAMPLES, MIN_TAIL_LATENCIES
from host_tools.review.analysis.percentiles import quantiles
from host_tools.review.simulation import latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.fleet.records.gates import GateMeasure
    from host_tools.review.simulation.boards import Board

HOURS = 24
_SUMS = ("count", "p50", "p95", "slowed", "energy", "celsius", "throttled", "samples", "cosine", "compared")
_PLACE = {name: place for place, name in enumerate(_SUMS)}
_HEAT_STEPS = 101


class Figures:
    """Sums of one side, float64[sums, hours, devices], and crashes, int64[devices], in hours, float64[devices].

    `p50` and `p95` are sums over inferences of the logarithm of the latency while nothing slows the device down, with what sampling makes of
    it; `slowed` is how many of the inferences heat slowed down.
    """

    def __init__(self, devices: int) -> None:
        self.sums = np.zeros((len(_SUMS), HOURS, devices))
        self.crashes = np.zeros(devices, dtype=np.int64)
        self.hours = np.zeros(devices)

    def add(self, hour: int, mask: NDArray[np.bool_], values: dict[str, NDArray[np.float64]]) -> None:
        """Add a window of the devices in ``mask``."""
        for name, value in values.items():
            self.sums[_PLACE[name], hour] += value * mask


class HeatQuantiles:
    """By how much p50 and p95 grow when heat slows a share of the inferences down: a table for each kind of board."""

    def __init__(self, boards: tuple[Board, ...]) -> None:
        shares = np.linspace(0.0, 1.0, _HEAT_STEPS)
        rng = np.random.default_rng(0)
        medians, counts = np.ones(_HEAT_STEPS), np.full(_HEAT_STEPS, 4_000_000)
        tables = []
        for board in boards:
            factor = np.full(_HEAT_STEPS, board.throttled_factor)
            hist, _ = latency.draw(rng, medians, counts, shares, factor)
            found = np.log(quantiles(hist, (0.5, 0.95)))
            tables.append(np.stack([found[:, 0] - found[0, 0], found[:, 1] - found[0, 1]]))
        self._tables = np.stack(tables)  # boards, quantiles, shares

    def grown(
        self, board: NDArray[np.int64], quantile: int, share: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the logarithm of the factor; ``quantile`` 0 is p50, 1 is p95."""
        grown = np.zeros(len(board))
        hot = np.flatnonzero(share > 0)
        place = share[hot] * (_HEAT_STEPS - 1)
        low = np.minimum(place.astype(np.int64), _HEAT_STEPS - 2)
        part, kind = place - low, board[hot]
        table = self._tables[:, quantile]
        grown[hot] = (1 - part) * table[kind, low] + part * table[kind, low + 1]
        return grown


class Comparison:
    """Two sides of the same devices, as every gate wants them.

    Args:
        before: Figures with the previous artifact.
        after: Figures since.
        devices: Which are compared.
        board: Kind of each device of the whole group.
        heat: Tables.
    """

    def __init__(
        self,
        before: Figures,
        after: Figures,
        devices: NDArray[np.int64],
        board: NDArray[np.int64],
        heat: HeatQuantiles,
    ) -> None:
        self._sides = (before, after)
        self._devices = devices
        self._board = board[devices]
        self._heat = heat
        samples = _PLACE["samples"]
        hours = np.flatnonzero(after.sums[samples].any(axis=1))
        cut = [np.take(side.sums[:, hours], devices, axis=2) for side in self._sides]
        common = (cut[0][samples] > 0) & (cut[1][samples] > 0)
        self._sums = [dict(zip(_SUMS, (one * common).sum(axis=1), strict=True)) for one in cut]

    def pairs(self, measure: GateMeasure) -> Pairs | Crashes:
        """Return the figures of one gate."""
        if measure == "crashes":
            before, after = self._sides
            return Crashes(
                before=before.crashes[self._devices],
                after=after.crashes[self._devices],
                before_hours=before.hours[self._devices],
                after_hours=after.hours[self._devices],
            )
        if measure == "output_agreement":
            compared = self._sums[1]["compared"]
            agreement = _quotient(self._sums[1]["cosine"], compared, MIN_LATENCIES)
            return Pairs(before=np.ones(len(compared)), after=agreement)
        values = [self._values(measure, sums) for sums in self._sums]
        return Pairs(before=values[0], after=values[1])

    def _values(self, measure: GateMeasure, sums: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        if measure == "temperature":
            return _quotient(sums["celsius"], sums["samples"], MIN_SAMPLES)
        if measure == "throttled_share":
            return _quotient(sums["throttled"], sums["samples"], MIN_SAMPLES)
        if measure == "energy_per_inference":
            return _quotient(sums["energy"], sums["count"], MIN_LATENCIES)
        name, quantile, least = (
            ("p50", 0, MIN_LATENCIES) if measure == "latency_p50" else ("p95", 1, MIN_TAIL_LATENCIES)
        )
        slowed = _quotient(sums["slowed"], sums["count"], 1)
        middle = _quotient(sums[name], sums["count"], least)
        return np.asarray(np.exp(middle + self._heat.grown(self._board, quantile, slowed)))


def _quotient(top: NDArray[np.float64], bottom: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    return np.asarray(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom >= least))
