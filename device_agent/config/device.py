"""What `agent.toml` says of the device: who it is, its certificate, its sensors and its heat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_agent.config.section import DAY_SECONDS, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSection:
    """Who this device is.

    Attributes:
        id: 1 to 64 letters, digits, ``_`` and ``-``; it stands in every topic.
        targets: Capability profiles whose artifacts may run here; empty: any, which the agent says.
    """

    id: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySection:
    """The certificate that ``edgewright-agent enrol`` gets, and its renewal; see `docs/enrolment.md`.

    Attributes:
        folder: Where key and certificate are kept, writable by the agent; with it the broker is reached by mutual TLS.
        renew_share: Renewed when this share of its validity is left.
        renew_pause_seconds: Longest pause between two looks at the certificate, and so between attempts; up to half of it is
            taken off at random.
    """

    folder: Path | None = None
    renew_share: float = setting(1 / 3, low=0.01, high=0.99)
    renew_pause_seconds: float = setting(3_600.0, low=1.0, high=DAY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorsSection:
    """Where sensors are read.

    Attributes:
        sysfs_root: The kernel's ``/sys``, or a tree that stands for it.
        vcgencmd: Program that asks a Raspberry Pi's firmware; by default the one in ``PATH``, for ``/sys`` alone.
        idle_watts: What the machine draws without inferences, as ``edgewright-agent measure`` tells it for its first sensor;
            telemetry has no net energy without it.
    """

    sysfs_root: Path = Path("/sys")
    vcgencmd: Path | None = None
    idle_watts: float | None = setting(None, low=0.0, high=100_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatSection:
    """What the agent does when it gets hot: what the artifact declares, unless a temperature is set here. Measures add up as it gets hotter.

    Attributes:
        from_artifact: Do what the artifact declares where no temperature is set here.
        slow_celsius: From here on at most ``slow_rate_hz`` frames a second.
        slow_rate_hz: Frames a second while it is that hot.
        variant_celsius: From here on the artifact at ``variant_path`` runs instead.
        variant_path: A smaller ``.ewa`` with the same inputs, outputs and preprocessing.
        variant_digest: ``sha256:…`` of it; when given, another file is refused.
        pause_celsius: From here on nothing is inferred.
        hysteresis_celsius: How far below its temperature a measure is taken back.
        hold_seconds: For how long it must be that cool; up to 16 times as long where a measure soon had to be taken again.
        interval_seconds: How often the temperature is read.
        sensors: Readings to go by, of which the hottest counts; none: every thermal zone, or the processor's chips.
    """

    from_artifact: bool = True
    slow_celsius: float | None = setting(None, low=-40.0, high=200.0)
    slow_rate_hz: float = setting(1.0, low=0.001, high=100_000.0)
    variant_celsius: float | None = setting(None, low=-40.0, high=200.0)
    variant_path: Path | None = None
    variant_digest: str | None = None
    pause_celsius: float | None = setting(None, low=-40.0, high=200.0)
    hysteresis_celsius: float = setting(5.0, low=0.5, high=50.0)
    hold_seconds: float = setting(30.0, low=1.0, high=3_600.0)
    interval_seconds: float = setting(2.0, low=0.1, high=60.0)
    sensors: tuple[str, ...] = ()
