"""What an artifact, or the file that `edgewright convert --heat` takes, declares about heat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.manifest import Heat

if TYPE_CHECKING:
    from device_agent.contract.fields import Fields

_COLDEST, _HOTTEST = -40.0, 200.0


def decode_heat(fields: Fields) -> Heat:
    """Read a declaration about heat.

    Raises:
        ContractError: It breaks a rule.
    """
    slow = fields.number("slow_celsius", low=_COLDEST, high=_HOTTEST) if fields.has("slow_celsius") else None
    rate = fields.number("slow_rate_hz", low=0.001, high=100_000.0) if fields.has("slow_rate_hz") else None
    pause = (
        fields.number("pause_celsius", low=_COLDEST, high=_HOTTEST) if fields.has("pause_celsius") else None
    )
    if (slow is None) != (rate is None):
        fields.refuse("slow_rate_hz", "slow_celsius and slow_rate_hz together, or neither", rate)
    if slow is None and pause is None:
        fields.refuse("pause_celsius", "slow_celsius, pause_celsius or both", pause)
    return Heat(
        slow_celsius=slow,
        slow_rate_hz=rate,
        pause_celsius=pause,
        hysteresis_celsius=fields.number("hysteresis_celsius", low=0.5, high=50.0),
        hold_seconds=fields.number("hold_seconds", low=1.0, high=3_600.0),
        extra=fields.unknown(),
    )
