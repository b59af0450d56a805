"""A status for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_text(status: Mapping[str, Any]) -> str:
    """Return what the agent said, one thing a line; sections that a stuck agent leaves out are left out."""
    agent, health = status["agent"], status.get("health", {})
    lines = [
        f"health    {health.get('status')}" + (f": {health['reason']}" if health.get("reason") else ""),
        f"agent     pid {agent.get('pid')}, {agent.get('phase')}"
        + (
            f", version {agent['version']}, up {_duration(agent['uptime_seconds'])}"
            if "version" in agent
            else ""
        ),
    ]
    if model := status.get("model"):
        lines.append(
            f"model     {model['name']} {model['version']} for {model['target']}, {model['engine']} {model['engine_version']}"
            if model["name"]
            else "model     none yet"
        )
    if inference := status.get("inference"):
        lines.append(
            f"inference {inference['inferences_total']} done, {inference['errors_total']} failed, "
            f"{inference['dropped_frames_total']} frames dropped{_latency(inference)}"
        )
    for name, one in status.get("models", {}).items():
        trouble = f": {one['trouble']}" if one["trouble"] else ""
        lines.append(
            f"beside    {name}: {one['state']}, {one['inferences_total']} done, {one['errors_total']} failed, "
            f"{one['dropped_frames_total']} frames dropped{trouble}"
        )
    if broker := status.get("broker"):
        state = "connected" if broker["connected"] else "away"
        reason = f": {broker['reason']}" if broker["reason"] else ""
        lines.append(
            f"broker    {broker['address']}: {state} for {_duration(broker['since_seconds'])}{reason}"
            if broker["address"]
            else "broker    none: mqtt.enabled is false"
        )
    if spool := status.get("spool"):
        where = "on disk" if spool["on_disk"] else "in memory, for the disk cannot be written"
        if stranded := spool.get("stranded_messages"):
            where += f", where {stranded} more lie"
        lines.append(
            f"spool     {spool['messages']} messages, {spool['bytes']} bytes, {where}; {spool['dropped_total']} lost in this run"
        )
    if commands := status.get("commands"):
        lines.append(f"commands  {commands['waiting']} under way")
    if updates := status.get("updates"):
        lines.append(f"updates   {_updates(updates)}")
        lines += [f"          {name}: {_standing(updates, f'{name}.')}" for name in _updated_beside(updates)]
    for trouble in status.get("troubles", []):
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(trouble["time"]))
        lines.append(f"{trouble['level']:<9} {moment}Z {trouble['text']}")
    return "\n".join(lines)


def _updates(updates: Mapping[str, Any]) -> str:
    last = "no check in this run yet"
    if updates["last_check"] is not None:
        last = f"last check {_duration(updates['last_check_seconds'])} ago: {updates['last_check']}"
    return f"{updates['phase']}, {_standing(updates)}; {last}"


def _updated_beside(updates: Mapping[str, Any]) -> list[str]:
    """Return the models beside the main one that are updated."""
    return [key.removesuffix(".current") for key in updates if key.endswith(".current")]


def _standing(updates: Mapping[str, Any], of: str = "") -> str:
    """Say how a model stands; ``of`` is what stands before the keys that are about it."""
    parts = [str(updates[f"{of}current"] or "the delivered artifact")]
    if updates[f"{of}on_probation"]:
        parts.append(
            f"on probation: start {updates[f'{of}probation_starts']}, {updates[f'{of}probation_inferences']} inferences, "
            f"else back to {updates[f'{of}rollback_to']}"
        )
    if updates[f"{of}candidate"]:
        parts.append(f"{updates[f'{of}candidate']} is on its way")
    if updates[f"{of}refused"]:
        parts.append(f"{updates[f'{of}refused']} refused, the last for {updates[f'{of}last_refusal']}")
    parts.append(f"release counter at least {updates[f'{of}counter_floor']}")
    return "; ".join(parts)


def _latency(inference: Mapping[str, Any]) -> str:
    median, p95 = inference.get("latency_p50_seconds"), inference.get("latency_p95_seconds")
    if median is None or p95 is None:
        return ""
    return f"; median {1e3 * median:.3g} ms, p95 {1e3 * p95:.3g} ms"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole % 86_400 // 3_600, whole % 3_600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
