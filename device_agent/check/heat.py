"""What the machine's sensors read, and what the policy for heat would go by."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from device_agent.contract.errors import EdgewrightError
from device_agent.heat.temperature import declared_rules, in_force, read_hottest
from device_agent.heat.variant import load_stand_in
from device_agent.sensors.reading import Absent
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.startup import verify_artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.config import AgentConfig
    from device_agent.contract.manifest import Heat


def look_at_heat(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Say what the policy would go by, and load the variant: it should not be found out in the heat that it cannot be used."""
    heat = in_force(config.heat, _declared_heat(config))
    rules = declared_rules(heat)
    if rules is None:
        return {}, None
    now = read_hottest(_sensors(config), heat.sensors)
    found: dict[str, object] = {
        "declared by": "the configuration" if heat is config.heat else "the artifact",
        "measures": ", ".join(f"{step.measure} from {step.celsius:g} °C" for step in rules.steps),
        "temperature": f"cannot be read, so nothing will be done: {now.reason}"
        if isinstance(now, Absent)
        else now,
    }
    if heat.variant_celsius is None or heat.variant_path is None:
        return found, None
    try:
        like = verify_artifact(config).manifest
    except EdgewrightError:
        return {**found, "variant": "not looked at, for the artifact cannot be used"}, None
    try:
        archive, engine = load_stand_in(
            config,
            heat.variant_path,
            heat.variant_digest,
            like=like,
            memory_max_bytes=config.engine.memory_max_bytes,
        )
    except EdgewrightError as error:
        return {**found, "variant": f"refused: {error}"}, error
    engine.close()
    return {**found, "variant": f"{archive.manifest.name} {archive.manifest.version}"}, None


def _declared_heat(config: AgentConfig) -> Heat | None:
    try:
        return verify_artifact(config).manifest.heat
    except EdgewrightError:
        return None  # which `look_at_artifact` tells


def sensors_found(config: AgentConfig) -> Mapping[str, object]:
    """Return what every sensor reads now, or why it reads nothing."""
    sensors = _sensors(config)
    now = monotonic()
    values: dict[str, float | Absent] = dict(sensors.system(now))
    values |= {one.name: one.value for one in (*sensors.heat(), *sensors.power(now))}
    return {
        name: f"absent: {value.reason}" if isinstance(value, Absent) else value
        for name, value in values.items()
    }


def _sensors(config: AgentConfig) -> Sensors:
    folder = next((parent for parent in config.spool.path.parents if parent.is_dir()), config.spool.path)
    return Sensors(
        sysfs_root=config.sensors.sysfs_root,
        state_directory=folder,
        pss_interval_seconds=config.telemetry.pss_interval_seconds,
        vcgencmd=find_vcgencmd(config.sensors.vcgencmd, config.sensors.sysfs_root),
    )
