"""A group of simulated devices, minute by minute; what one does is drawn, the rest follows from it.

Nuisances, with figures of the size that `host_tools/review/simulation` has: devices differ in speed (3.5 %), power (5 %), cooling
(8 %), surroundings (4 °C) and hour; their speed wanders (1.2 %, remembered for 3 hours); load and weather have their day;
heat is a resistance and a capacity, and slows devices down; latencies have a tail; devices crash now and then, one in a hundred often;
networks go away for hours, and some devices are away for weeks; an update is asked for within five minutes, takes its time, and fails on
one device in three hundred for reasons of its own.

What a device says while it is away is lost here; the agent keeps it and says it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.fleet.simulation.figures import Comparison, Figures, HeatQuantiles
from host_tools.review.simulation import latency, physics
from host_tools.review.simulation.boards import BOARDS
from host_tools.review.simulation.own import Own

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.fleet.simulation.candidate import Candidate

MINUTE: Final = 60.0
BEFORE_SECONDS: Final = 86_400.0
_WINDOW: Final = 300.0
_HOUR: Final = 3_600.0
_SITES: Final = 8
_SAMPLES_A_MINUTE: Final = 6.0
_P50_NOISE: Final = 0.078
_P95_NOISE: Final = 0.21
"""Standard errors of quantiles of one latency, in logarithms: divided by the root of how many there are."""
_ENERGY_NOISE: Final = 0.02
_CRASHES_A_DAY: Final = 0.03
_FLAPPING_SHARE: Final = 0.01
_FLAPPING_A_DAY: Final = 4.0
_OUTAGES_A_DAY: Final = 0.3
_OUTAGE_SECONDS: Final = 4 * 3_600.0
_GONE_SHARE: Final = 0.02
_POLL_SECONDS: Final = 300.0
_FETCH_SECONDS: Final = 150.0
_PROBATION_SECONDS: Final = 600.0
_REJECTED_SHARE: Final = 0.003
_PROBATION_CRASHES: Final = 3
_DISAGREEING: Final = 0.004
_COMPARED_A_MINUTE: Final = 20

_MOST_CONTROLS: Final = 200

IDLE, ASKING, FETCHING, PROBATION, KEPT, TAKEN_BACK = range(6)
"""Where a device is with the candidate."""


class SimulatedGroup:
    """See the module's docstring.

    Args:
        seed: Decides everything that is drawn.
        devices: How many.
        begin: Unix time at which the rollout may begin; the day before it has passed already.
        hours: For how long after that there is weather.
        candidate: The new release.
    """

    def __init__(self, seed: int, devices: int, *, begin: float, hours: float, candidate: Candidate) -> None:
        self._rng = rng = np.random.default_rng([seed, 21])
        self.count, self.begin, self.now, self._candidate = devices, begin, begin, candidate
        own = Own(rng, devices)
        self._board = rng.permutation(np.arange(devices) % len(BOARDS))
        board = {name: np.array([getattr(one, name) for one in BOARDS])[self._board] for name in _NUMBERS}
        self._thermals = physics.Thermals(
            idle_watts=board["idle_watts"] * own.power,
            busy_watts=board["busy_watts"] * own.power,
            kelvin_per_watt=board["kelvin_per_watt"] * own.cooling,
            heat_seconds=board["heat_seconds"],
            trip_celsius=board["trip_celsius"],
            throttled_factor=board["throttled_factor"],
        )
        self._latency, self._frames = board["latency_seconds"], board["frames_per_second"]
        since = np.arange(0.0, BEFORE_SECONDS + hours * _HOUR + _WINDOW, _WINDOW)
        times = begin - BEFORE_SECONDS + since
        self._load = physics.daily_load(times, own.phase, rng)
        sites = rng.integers(0, _SITES, devices)
        self._around = physics.ambient(times, own.phase, sites, own.surroundings, seed)
        keep = float(np.exp(-_WINDOW / (3 * _HOUR)))
        wander = physics.autoregressive(rng, devices, len(times), keep=keep, spread=0.012)
        self._speed = np.exp(own.speed[:, None] + wander)
        self._crashes_an_hour = _CRASHES_A_DAY / 24 * own.failing
        flapping = rng.random(devices) < _FLAPPING_SHARE
        self._crashes_an_hour[flapping] += _FLAPPING_A_DAY / 24
        self._disagreeing = _DISAGREEING * np.exp(rng.normal(0.0, 0.5, devices))
        self._affected = rng.random(devices) < candidate.crash_share
        self._heat_tables = HeatQuantiles(BOARDS)
        self.before, self.after, self.later = Figures(devices), Figures(devices), Figures(devices)
        self.phase = np.full(devices, IDLE, dtype=np.int8)
        self._left = np.zeros(devices)
        self._is_taken_back = False
        self._probation_crashes = np.zeros(devices, dtype=np.int64)
        self._refuses = rng.random(devices) < _REJECTED_SHARE
        self._gone = rng.random(devices) < _GONE_SHARE
        share_away = _OUTAGES_A_DAY * _OUTAGE_SECONDS / BEFORE_SECONDS
        away = rng.random(devices) < share_away
        self._away = np.where(away, rng.exponential(_OUTAGE_SECONDS, devices), 0.0)
        self._away[self._gone] = np.inf
        self._celsius = self._around[:, 0] + self._thermals.kelvin_per_watt * self._thermals.idle_watts
        self._day_before()

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which devices can be heard."""
        return np.asarray(self._away <= 0)

    @property
    def has_candidate(self) -> NDArray[np.bool_]:
        """Which devices run the candidate."""
        return np.asarray((self.phase == PROBATION) | (self.phase == KEPT))

    def offer(self, devices: NDArray[np.int64]) -> None:
        """Let devices find the candidate in their desired state when they look next."""
        self.phase[devices] = ASKING
        self._left[devices] = self._rng.uniform(0.0, _POLL_SECONDS, len(devices))

    def take_back(self) -> None:
        """Let devices find the previous artifact in their desired state, and run it when they are there."""
        self._is_taken_back = True

    def minute(self) -> NDArray[np.bool_]:
        """Let a minute pass; return which devices went on to another phase of the update."""
        self.now += MINUTE
        column = int((self.now - self.begin + BEFORE_SECONDS) // _WINDOW)
        self._networks()
        was = self.phase.copy()
        runs = self.has_candidate
        values = self._window(column, MINUTE, runs)
        hour = int(self.now // _HOUR) % 24
        there = self.there
        self.after.add(hour, runs & there, values)
        self.later.add(hour, ~runs & there, values)
        self._crash(runs)
        self._updates()
        return np.asarray(self.phase != was)

    def compare(self) -> tuple[Comparison, Comparison]:
        """Return devices that ran the candidate, and some of those that never had it, each against the day before."""
        mine = np.flatnonzero(self.after.hours > 0)
        others = np.flatnonzero(self.phase == IDLE)[:_MOST_CONTROLS]
        return (
            Comparison(self.before, self.after, mine, self._board, self._heat_tables),
            Comparison(self.before, self.later, others, self._board, self._heat_tables),
        )

    def _day_before(self) -> None:
        nobody = np.zeros(self.count, dtype=bool)
        everybody = ~nobody
        for column in range(int(BEFORE_SECONDS // _WINDOW)):
            values = self._window(column, _WINDOW, nobody)
            hour = int((self.begin + column * _WINDOW) // _HOUR) % 24
            self.before.add(hour, everybody, values)
        self.before.crashes += self._rng.poisson(self._crashes_an_hour * BEFORE_SECONDS / _HOUR)
        self.before.hours += BEFORE_SECONDS / _HOUR

    def _window(self, column: int, seconds: float, runs: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """One window of every device: heat first, then what inference makes of it."""
        thermals, rng = self._thermals, self._rng
        slower = np.where(runs, 1 + self._candidate.slower, 1.0)
        hungrier = np.where(runs, 1 + self._candidate.hungrier, 1.0)
        medians = self._latency * self._speed[:, column] * slower
        mean = medians * _MEAN_FACTOR
        slow = np.clip((self._celsius - thermals.trip_celsius) / 6.0, 0.0, 1.0)
        factor = 1 + slow * (thermals.throttled_factor - 1)
        frames = np.minimum(self._frames * self._load[:, column], 1 / (mean * factor))
        busy = frames * mean * factor
        power = thermals.busy_watts * hungrier * (1 - slow * (1 - _SLOWED_POWER))
        watts = thermals.idle_watts + power * busy
        target = self._around[:, column] + thermals.kelvin_per_watt * watts
        self._celsius = target + (self._celsius - target) * np.exp(-seconds / thermals.heat_seconds)
        count = rng.poisson(frames * seconds).astype(np.float64)
        root = np.sqrt(count)
        logarithm = np.log(medians) * count
        energy = (thermals.idle_watts + power) * mean * factor
        energy = energy * (1 + rng.normal(0.0, _ENERGY_NOISE, self.count))
        samples = np.full(self.count, _SAMPLES_A_MINUTE * seconds / MINUTE)
        compared = np.where(runs, float(_COMPARED_A_MINUTE), 0.0)
        wrong = np.clip(self._disagreeing + self._candidate.disagreeing, 0.0, 1.0)
        # A frame's output is as before, cosine 1, or has nothing in common with it, 0.
        cosine = rng.binomial(compared.astype(np.int64), 1 - wrong).astype(np.float64)
        return {
            "count": count,
            "p50": logarithm + root * _P50_NOISE * rng.standard_normal(self.count),
            "p95": logarithm + count * _LOG_P95 + root * _P95_NOISE * rng.standard_normal(self.count),
            "slowed": slow * count,
            "energy": energy * count,
            "celsius": (self._celsius + rng.normal(0.0, 0.05, self.count)) * samples,
            "throttled": slow * samples,
            "samples": samples,
            "cosine": cosine,
            "compared": compared,
        }

    def _networks(self) -> None:
        self._away = np.maximum(self._away - MINUTE, 0.0)
        begins = self.there & (self._rng.random(self.count) < _OUTAGES_A_DAY * MINUTE / BEFORE_SECONDS)
        self._away[begins] = self._rng.exponential(_OUTAGE_SECONDS, int(begins.sum()))

    def _crash(self, runs: NDArray[np.bool_]) -> None:
        rate = self._crashes_an_hour + np.where(runs & self._affected, self._candidate.crashes_per_hour, 0.0)
        crashes = self._rng.poisson(rate * MINUTE / _HOUR)
        counted = self.there
        for side, mask in ((self.after, runs & counted), (self.later, ~runs & counted)):
            side.crashes += np.where(mask, crashes, 0)
            side.hours += np.where(mask, MINUTE / _HOUR, 0.0)
        self._probation_crashes += np.where(self.phase == PROBATION, crashes, 0)

    def _updates(self) -> None:
        """Devices that are there go on with the update; probation needs no network."""
        phase, there = self.phase, self.there
        going = (phase == PROBATION) | (there & ((phase == ASKING) | (phase == FETCHING)))
        self._left[going] -= MINUTE
        failed = (phase == PROBATION) & (self._probation_crashes >= _PROBATION_CRASHES)
        due = going & (self._left <= 0)
        refused = due & (phase == FETCHING) & self._refuses
        asked, fetched, proven = (due & (phase == one) for one in (ASKING, FETCHING, PROBATION))
        self._left[asked] = self._rng.exponential(_FETCH_SECONDS, int(asked.sum()))
        self._left[fetched] = _PROBATION_SECONDS
        phase[asked], phase[fetched], phase[proven] = FETCHING, PROBATION, KEPT
        phase[failed | refused] = TAKEN_BACK
        if self._is_taken_back:
            phase[there & (phase != IDLE)] = TAKEN_BACK


_NUMBERS: Final = (
    "latency_seconds",
    "frames_per_second",
    "idle_watts",
    "busy_watts",
    "kelvin_per_watt",
    "heat_seconds",
    "trip_celsius",
    "throttled_factor",
)
_SLOWED_POWER: Final = 0.55
_MEAN_FACTOR: Final = latency.mean_factor()
_LOG_P95: Final = 0.12
"""Logarithm of p95 by p50 of a device that nothing slows down."""
