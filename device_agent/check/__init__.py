"""``edgewright-agent check``: what is configured, what this machine offers, and whether the agent could run. Changes nothing.

Everything that `Agent` does before its first inference is done here too, up to loading the payload and the self-test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.check.artifact import look_at_artifact, look_at_models
from device_agent.check.broker import look_at_broker, look_at_identity
from device_agent.check.disk import look_at_files, look_at_spool, look_at_updates
from device_agent.check.heat import look_at_heat, sensors_found
from device_agent.engines import available
from device_agent.sensors.host import clock_is_synchronized, host_facts

if TYPE_CHECKING:
    from device_agent.config import AgentConfig
    from device_agent.contract.errors import EdgewrightError

__all__ = ["CheckReport", "as_text", "check", "sensors_found"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found.

    Attributes:
        problem: The first error that would keep the agent or one of its models from running, its messages from being kept on
            disk, its results and its status from being had, or updates or the variant for heat from ever working; None when there is
            none. A broker or a repository that is away is no problem: messages and updates wait.
        facts: Section to (name to what was found), in the order to be shown.
    """

    problem: EdgewrightError | None
    facts: Mapping[str, Mapping[str, object]]


def check(config: AgentConfig) -> CheckReport:
    """Look at everything that can be known without inferring on frames."""
    # In the order of `Agent`: what the broker is told, then the spool, what updates begin with, and the artifact.
    broker, settings_problem = look_at_broker(config)
    spool, spool_problem = look_at_spool(config)
    files, files_problem = look_at_files(config)
    updates, updates_problem, waits_problem = look_at_updates(config)
    artifact, artifact_problem = look_at_artifact(config)
    models, models_problem = look_at_models(config)
    heat, heat_problem = look_at_heat(config)
    facts: dict[str, Mapping[str, object]] = {
        "artifact": artifact,
        **({"models": models} if models else {}),
        "engines": available(),
        "identity": look_at_identity(config),
        "broker": broker,
        "spool": spool,
        "files": files,
        "updates": updates,
        "heat": heat,
        "machine": {**host_facts(), "clock": "synced" if clock_is_synchronized() else "unsynced"},
        "sensors": sensors_found(config),
    }
    ends = settings_problem or updates_problem or artifact_problem
    stays = spool_problem or files_problem or models_problem or waits_problem or heat_problem
    return CheckReport(problem=ends or stays, facts=facts)


def as_text(report: CheckReport) -> str:
    """Return the facts for people, one a line."""
    lines = []
    for section, found in report.facts.items():
        lines.append(f"{section}:")
        for name, value in found.items():
            if isinstance(value, Mapping):  # one of several models
                lines += [f"  {name}:", *(f"    {key}: {inner}" for key, inner in value.items())]
            else:
                lines.append(f"  {name}: {value}")
        if not found:
            lines.append("  none")
    return "\n".join(lines)
