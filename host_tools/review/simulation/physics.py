"""Load, weather, heat and throttling of simulated devices over time.

Heat is one resistance and one capacity for each device, integrated exactly over steps in which power is constant. A
device that reaches its trip temperature spends a growing share of its time slowed down, which draws less power: so it
settles above the trip, as boards do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAY = 86400.0
_PROPORTIONAL_KELVIN = 6.0
"""From the trip temperature so far up the share of slowed time grows from 0 to 1."""
_SLOWED_WATTS = 0.55
"""Power of inference while slowed down, by power otherwise."""
_WEATHER_KELVIN = 2.5
_WEATHER_DAYS = 2.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermals:
    """What heat is computed from; arrays of devices.

    Attributes:
        idle_watts: Without inference.
        busy_watts: In addition while an inference runs.
        kelvin_per_watt: How much hotter than its surroundings for each watt.
        heat_seconds: Time constant.
        trip_celsius: From here on it is slowed down.
        throttled_factor: Latency while it is slowed down, by latency otherwise.
    """

    idle_watts: Array
    busy_watts: Array
    kelvin_per_watt: Array
    heat_seconds: Array
    trip_celsius: Array
    throttled_factor: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Temperatures and what comes of them; arrays of devices by windows.

    Attributes:
        celsius: Mean of the window.
        celsius_max: Highest of the window.
        watts: Mean of the window.
        throttled: Share of the window in which it is slowed down.
        busy: Share of the window in which an inference runs.
    """

    celsius: Array
    celsius_max: Array
    watts: Array
    throttled: Array
    busy: Array


def daily_load(times: Array, phase: Array, rng: np.random.Generator) -> Array:
    """Return the load by the busiest hour's: little at night, most in the afternoon, and never quite the same.

    Args:
        times: Seconds, of windows.
        phase: Seconds that each device's day is late.
        rng: Draws.
    """
    hour = ((times[None, :] - phase[:, None]) % _DAY) / 3600.0
    curve = 0.3 + 0.7 * np.exp(-(((hour - 14.0) / 5.0) ** 2))
    step = float(times[1] - times[0]) if len(times) > 1 else 3600.0
    noise = autoregressive(rng, len(phase), len(times), keep=np.exp(-step / 7200.0), spread=0.08)
    return np.asarray(np.clip(curve * np.exp(noise), 0.02, 1.3))


def ambient(times: Array, phase: Array, site: NDArray[np.int64], means: Array, seed: int) -> Array:
    """Return the temperature around each device: its own mean, the hour of the day, and its site's weather.

    Args:
        times: Seconds, of windows.
        phase: Seconds that each device's day is late.
        site: Index of each device's site; devices of a site have the same weather.
        means: Degrees Celsius, of devices.
        seed: Of the weather, the same for every block of the fleet.
    """
    days = np.arange(np.floor(times[0] / _DAY), np.ceil(times[-1] / _DAY) + 2)
    weather = np.random.default_rng(seed)
    sites = int(site.max(initial=0)) + 1
    daily = autoregressive(weather, sites, len(days), keep=np.exp(-1 / _WEATHER_DAYS), spread=_WEATHER_KELVIN)
    at = np.stack([np.interp(times / _DAY, days, one) for one in daily])
    hour = ((times[None, :] - phase[:, None]) % _DAY) / 3600.0
    return np.asarray(means[:, None] + at[site] + 4.0 * np.sin((hour - 9.0) / 24.0 * 2 * np.pi))


def heat(
    thermals: Thermals, *, surroundings: Array, busy: Array, power_factor: Array, seconds: float, steps: int
) -> Heat:
    """Integrate temperatures through windows of ``seconds``, each in ``steps`` steps.

    Args:
        thermals: Of the devices.
        surroundings: Degrees Celsius, devices by windows.
        busy: Share of the time in which an inference would run if nothing slowed it down, devices by windows.
        power_factor: Power of inference by that of the boards, devices by windows.
        seconds: Length of a window.
        steps: How many steps in each.
    """
    devices, windows = busy.shape
    decay = np.exp(-seconds / steps / thermals.heat_seconds)
    result = {name: np.empty((devices, windows)) for name in ("mean", "top", "watts", "slow", "busy")}
    temperature = surroundings[:, 0] + thermals.kelvin_per_watt * (
        thermals.idle_watts + thermals.busy_watts * busy[:, 0]
    )
    for window in range(windows):
        total, top = np.zeros(devices), np.full(devices, -np.inf)
        slow_total, watts_total, busy_total = np.zeros(devices), np.zeros(devices), np.zeros(devices)
        for _ in range(steps):
            slow = np.clip((temperature - thermals.trip_celsius) / _PROPORTIONAL_KELVIN, 0.0, 1.0)
            runs = np.minimum(busy[:, window] * (1 + slow * (thermals.throttled_factor - 1)), 1.0)
            draws = thermals.busy_watts * power_factor[:, window] * runs * (1 - slow * (1 - _SLOWED_WATTS))
            watts = thermals.idle_watts * power_factor[:, window] + draws
            target = surroundings[:, window] + thermals.kelvin_per_watt * watts
            temperature = target + (temperature - target) * decay
            total += temperature
            top = np.maximum(top, temperature)
            slow_total += slow
            watts_total += watts
            busy_total += runs
        result["mean"][:, window], result["top"][:, window] = total / steps, top
        result["watts"][:, window], result["slow"][:, window] = watts_total / steps, slow_total / steps
        result["busy"][:, window] = busy_total / steps
    return Heat(
        celsius=result["mean"],
        celsius_max=result["top"],
        watts=result["watts"],
        throttled=result["slow"],
        busy=result["busy"],
    )


def autoregressive(
    rng: np.random.Generator, rows: int, length: int, *, keep: float | np.floating, spread: float
) -> Array:
    """Return noise of standard deviation ``spread`` that remembers: each value keeps ``keep`` of the one before."""
    noise = rng.standard_normal((rows, length)) * (spread * np.sqrt(1 - float(keep) ** 2))
    if length:
        noise[:, 0] *= 1 / np.sqrt(1 - float(keep) ** 2)
    for column in range(1, length):
        noise[:, column] += float(keep) * noise[:, column - 1]
    return np.asarray(noise)
