"""``agent.toml`` for an agent under test, as text. What its keys mean, docs/agent.md says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.rig import Rig

DRAIN_SECONDS = 20.0
"""A busy machine takes longer than the agent's own five to send what waits at an orderly end; what is left then would seem to be missing."""

Tables = dict[str, dict[str, object]]


def default_tables(rig: Rig, *, device: str, folder: str, broker_port: int | None) -> Tables:
    """Return the tables that every test begins with: null frames, short windows, quick reconnecting; less of all on a slow board.

    Args:
        rig: Where it runs.
        device: Its id.
        folder: Its folder on the board.
        broker_port: As the board reaches it; None: no broker.
    """
    slowness = rig.board.section.slowness
    mqtt: dict[str, object] = {"enabled": False}
    if broker_port is not None:
        mqtt = {"host": rig.network.host, "port": broker_port}
        mqtt |= {"reconnect_min_seconds": 0.1, "reconnect_max_seconds": 0.5}
    return {
        "device": {"id": device},
        "artifact": {"path": f"{folder}/model.ewa"},
        "engine": {"threads": rig.board.section.engine_threads},
        "source": {"kind": "null", "rate_hz": 50.0 / slowness},
        "mqtt": mqtt,
        "telemetry": {"interval_seconds": max(0.5, 0.1 * slowness)},
        "sensors": {"sysfs_root": rig.sysfs_root},
        "spool": {
            "path": f"{folder}/spool/spool.db",
            "commit_interval_seconds": max(0.1, 0.02 * slowness),
            "drain_timeout_seconds": DRAIN_SECONDS,
        },
    }


def merged(tables: Tables, more: Mapping[str, Mapping[str, object]]) -> Tables:
    """Return tables with further keys, which replace those of the same names."""
    result = {name: dict(table) for name, table in tables.items()}
    for name, table in more.items():
        result.setdefault(name, {}).update(table)
    return result


def encode(tables: Tables) -> bytes:
    """Write the tables as TOML; texts, numbers, truth values and lists of them are the same in JSON."""
    return "".join(
        f"[{name}]\n"
        + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
        for name, table in tables.items()
    ).encode()
