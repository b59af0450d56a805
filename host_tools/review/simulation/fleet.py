"""`SimulatedFleet`: devices with a known truth, over time, in blocks of arrays.

A block is some hundred devices over the whole span, made when it is asked for and from nothing but seed, plan and its
number: blocks may be had in any order, and on any machine, and are the same.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host_tools.review.simulation import latency, physics
from host_tools.review.simulation.own import Own, delays, memory
from host_tools.review.simulation.plan import FleetPlan, SimulatedDevice
from host_tools.review.simulation.truth import Fault, Injection, Truth

BLOCK_DEVICES = 250
SITES = 8
SAMPLE_SECONDS = 10.0
"""What the agent's windows last, and how often it samples."""
_KEPT_BLOCKS = 4
_DAY = 86400.0
_KERNELS = ("6.1.0-35", "6.12.41")
_AGENTS = ("0.1.0", "0.1.1")
_FIRST_ERROR_RATE = 1e-4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some devices over the whole span; arrays of devices by windows unless said otherwise.

    Attributes:
        first: Index of the first device.
        times: float64[windows]: Unix time of each window's start.
        artifact: int8: index of what runs.
        alive: bool: the device works and says so, now or later.
        delay: float64 seconds until what it said arrives.
        starts: int64: starts of the agent in the window.
        medians: float64 seconds: latency while not slowed down.
        inferences: int64, those that gave a result.
        errors: int64.
        dropped: int64.
        heat: Temperatures, watts, throttling.
        shown_celsius: float64: what the sensor says, right or not.
        rss: float64 bytes.
        charge: float64: battery's charge, 0 to 1; NaN without one.
        stored_joules: float64: what the battery holds, as its gauge says; NaN likewise.
        throttled_factor: float64[devices].
    """

    first: int
    times: Floats
    artifact: NDArray[np.int8]
    alive: NDArray[np.bool_]
    delay: Floats
    starts: NDArray[np.int64]
    medians: Floats
    inferences: NDArray[np.int64]
    errors: NDArray[np.int64]
    dropped: NDArray[np.int64]
    heat: physics.Heat
    shown_celsius: Floats
    rss: Floats
    charge: Floats
    stored_joules: Floats
    throttled_factor: Floats


class SimulatedFleet:
    """See the module's docstring.

    Args:
        seed: Decides everything that is drawn.
        plan: What fleet there is to be.
    """

    def __init__(self, seed: int, plan: FleetPlan) -> None:
        self.seed = seed
        self.plan = plan
        self.artifacts = tuple(_digest(seed, index) for index in (0, 1))
        rng = np.random.default_rng([seed, 1])
        boards = rng.permutation(np.arange(plan.devices) % len(plan.boards))
        sites = rng.integers(0, SITES, plan.devices)
        kernels = rng.integers(0, len(_KERNELS), plan.devices)
        agents = rng.integers(0, len(_AGENTS), plan.devices)
        self.devices = tuple(
            SimulatedDevice(
                device=f"device-{index:05d}",
                board=plan.boards[boards[index]],
                site=int(sites[index]),
                kernel=_KERNELS[kernels[index]],
                agent_version=_AGENTS[agents[index]],
            )
            for index in range(plan.devices)
        )
        self._affected = tuple(self._drawn(injection, rng) for injection in plan.injections)
        self._switch = self._switches(rng)
        self._kept: dict[int, Block] = {}
        self._clock_errors = np.where(
            rng.random(plan.devices) < plan.wrong_clocks, -rng.uniform(3600, 90 * _DAY, plan.devices), 0.0
        )

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.plan.devices // BLOCK_DEVICES)

    @functools.cached_property
    def truth(self) -> Truth:
        """What is wrong with it."""
        names = [one.device for one in self.devices]
        return Truth(
            injections=self.plan.injections,
            devices=tuple(tuple(names[index] for index in np.flatnonzero(mask)) for mask in self._affected),
            start=self.plan.start,
        )

    def clock_error(self, index: int) -> float:
        """Return how many seconds a device's clock is ahead; 0 when it is right."""
        return float(self._clock_errors[index])

    def switched_at(self, index: int) -> float | None:
        """Return the Unix time when a device changed to artifact 1; None if it never did."""
        at = float(self._switch[index])
        return self.plan.start + at if np.isfinite(at) else None

    def block(self, number: int) -> Block:
        """Return one block; of those made the last few are kept."""
        if number not in self._kept:
            while len(self._kept) >= _KEPT_BLOCKS:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = self._made(number)
        return self._kept[number]

    def _made(self, number: int) -> Block:
        plan = self.plan
        first = number * BLOCK_DEVICES
        chosen = slice(first, min(first + BLOCK_DEVICES, plan.devices))
        devices = self.devices[chosen]
        rng = np.random.default_rng([self.seed, 2, number])
        count, windows, seconds = len(devices), plan.windows, float(plan.level.seconds)
        since = np.arange(windows, dtype=np.float64) * np.float64(seconds)
        own = Own(rng, count)
        size = functools.partial(self._size, chosen=chosen, since=since)

        artifact = (since[None, :] >= self._switch[chosen, None]).astype(np.int8)
        switches = np.diff(artifact, axis=1, prepend=artifact[:, :1]) != 0
        starts = rng.poisson((plan.restarts_a_day + size("flapping")) * seconds / _DAY, (count, windows))
        starts = starts + switches
        starts[:, 0] += 1
        silent = size("silent", flag=True) > 0

        board = {name: np.array([getattr(one.board, name) for one in devices]) for name in _BOARD_NUMBERS}
        load = physics.daily_load(since, own.phase, rng)
        keep = float(np.exp(-seconds / (3 * 3600.0)))
        wobble = physics.autoregressive(rng, count, windows, keep=keep, spread=0.012)
        slower = (1 + size("latency", artifact)) * (1 + size("straggler"))
        medians = board["latency_seconds"][:, None] * np.exp(own.speed[:, None] + wobble) * slower
        frames = board["frames_per_second"][:, None] * load
        mean = medians * latency.mean_factor()

        hotter = size("heating") * np.maximum(since[None, :] - self._since("heating"), 0) / _DAY
        sites = np.array([one.site for one in devices])
        around = physics.ambient(since, own.phase, sites, own.surroundings, self.seed) + hotter
        blocked = size("throttling").max(axis=1, initial=0.0)
        thermals = physics.Thermals(
            idle_watts=board["idle_watts"] * own.power,
            busy_watts=board["busy_watts"] * own.power,
            kelvin_per_watt=board["kelvin_per_watt"] * own.cooling + blocked,
            heat_seconds=board["heat_seconds"],
            trip_celsius=board["trip_celsius"],
            throttled_factor=board["throttled_factor"],
        )
        heat = physics.heat(
            thermals,
            surroundings=around,
            busy=np.minimum(frames * mean, 1.0),
            power_factor=1 + size("energy", artifact),
            seconds=seconds,
            steps=int(np.clip(seconds / 300, 1, 24)),
        )
        slowed = 1 + heat.throttled * (board["throttled_factor"][:, None] - 1)
        alive = ~silent
        done = rng.poisson(np.minimum(frames, 1.0 / (mean * slowed)) * seconds * alive)
        offered = rng.poisson(np.maximum(frames - 1.0 / (mean * slowed), 0.0) * seconds * alive)
        failing = _FIRST_ERROR_RATE * own.failing[:, None] + size("failures", artifact)
        errors = rng.binomial(done, np.clip(failing, 0, 1))
        charge, stored = self._battery(rng, board["has_battery"], since, size("battery_wear"))
        return Block(
            first=first,
            times=plan.start + since,
            artifact=artifact,
            alive=alive,
            delay=delays(rng, count, windows, seconds=seconds, outages_a_day=plan.outages_a_day),
            starts=starts * alive,
            medians=medians,
            inferences=done - errors,
            errors=errors,
            dropped=offered,
            heat=heat,
            shown_celsius=self._shown(heat.celsius, chosen, since, rng),
            rss=memory(rng, starts, since, size("memory_leak"), own.memory),
            charge=charge,
            stored_joules=stored,
            throttled_factor=board["throttled_factor"],
        )

    def _drawn(self, injection: Injection, rng: np.random.Generator) -> NDArray[np.bool_]:
        fitting = np.array([injection.target in (None, one.board.target) for one in self.devices])
        order = rng.permutation(np.flatnonzero(fitting))
        mask = np.zeros(len(self.devices), dtype=bool)
        if injection.share > 0:
            mask[order[: max(1, round(injection.share * len(order)))]] = True
        return mask

    def _switches(self, rng: np.random.Generator) -> Floats:
        plan = self.plan
        at = np.full(plan.devices, np.inf)
        if plan.rollout_at is not None:
            chosen = rng.permutation(plan.devices)[: round(plan.rollout_share * plan.devices)]
            raw = plan.rollout_at + np.sort(rng.random(len(chosen))) * plan.rollout_seconds
            at[chosen] = np.ceil(raw / plan.level.seconds) * plan.level.seconds
        return at

    def _size(
        self,
        fault: Fault,
        artifact: NDArray[np.int8] | None = None,
        *,
        chosen: slice,
        since: Floats,
        flag: bool = False,
    ) -> Floats:
        """How much of a fault each device has in each window."""
        total = np.zeros((len(self.devices[chosen]), len(since)))
        for injection, mask in zip(self.plan.injections, self._affected, strict=True):
            if injection.fault != fault:
                continue
            size = 1.0 if flag else injection.size
            has = mask[chosen, None] & (since[None, :] >= injection.since)
            if injection.with_artifact is not None and artifact is not None:
                has = has & (artifact == injection.with_artifact)
            total += size * has
        return total

    def _since(self, fault: Fault) -> float:
        return min((one.since for one in self.plan.injections if one.fault == fault), default=0.0)

    def drift_of(self, index: int, artifact: int, since: float, *, fault: Fault = "output_drift") -> float:
        """Return how far the outputs of one device have drifted at a time, or its inputs."""
        return sum(
            one.size
            for one, mask in zip(self.plan.injections, self._affected, strict=True)
            if one.fault == fault
            and mask[index]
            and since >= one.since
            and one.with_artifact in (None, artifact)
        )

    def _shown(self, celsius: Floats, chosen: slice, since: Floats, rng: np.random.Generator) -> Floats:
        shown = celsius + rng.normal(0.0, 0.05, celsius.shape)
        for fault, value in (("stuck_sensor", 47.25), ("impossible_sensor", 511.0)):
            has = self._size(fault, chosen=chosen, since=since, flag=True) > 0  # type: ignore[arg-type]  # literals
            shown = np.where(has, value, shown)
        return np.asarray(shown)

    def _battery(
        self, rng: np.random.Generator, has: NDArray[np.bool_], since: Floats, wear: Floats
    ) -> tuple[Floats, Floats]:
        days = np.maximum(since - self._since("battery_wear"), 0)[None, :] / _DAY
        hour = (since % _DAY) / 3600.0
        cycle = 0.62 + 0.28 * np.sin((hour - 10.0) / 24.0 * 2 * np.pi)
        charge = np.clip(cycle[None, :] + rng.normal(0.0, 0.02, wear.shape), 0.05, 1.0)
        capacity = 180e3 * np.exp(rng.normal(0.0, 0.04, (len(has), 1))) * np.maximum(1 - wear * days, 0.1)
        stored = charge * capacity * (1 + rng.normal(0.0, 0.012, wear.shape))
        nothing = ~has[:, None]
        return np.where(nothing, np.nan, charge), np.where(nothing, np.nan, stored)


_BOARD_NUMBERS = (
    "latency_seconds",
    "frames_per_second",
    "idle_watts",
    "busy_watts",
    "kelvin_per_watt",
    "heat_seconds",
    "trip_celsius",
    "throttled_factor",
    "has_battery",
)


def _digest(seed: int, index: int) -> str:
    return "sha256:" + hashlib.sha256(f"simulated artifact {seed} {index}".encode()).hexdigest()
