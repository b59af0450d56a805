"""The command `edgewright-agent`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from device_agent import __version__
from device_agent.agent import Agent
from device_agent.config import load_config
from device_agent.contract.errors import EdgewrightError
from device_agent.engines import available
from device_agent.sensors.host import host_facts
from device_agent.sensors.reading import Absent
from device_agent.sensors.survey import Sensors
from device_agent.startup import verify_artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.config import AgentConfig

_EPILOG = """\
examples:
  edgewright-agent check --config agent.toml        what is wrong, and what this machine offers
  edgewright-agent run --config agent.toml          run until stopped; SIGTERM drains and says goodbye

exit status:
  0  ended as asked          5  the artifact must not be used here
  2  wrong configuration     7  the device failed: engine, storage or source
"""
_STATUS = {
    "ok": 0,
    "config": 2,
    "contract": 5,
    "schema_version": 5,
    "trust": 5,
    "digest_mismatch": 5,
    "incompatible": 5,
    "archive": 5,
}
_DEVICE_FAILED = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.command == "check":
            return _check(config, as_json=options.json)
        return _run(config)
    except EdgewrightError as error:
        print(f"edgewright-agent: {error}", file=sys.stderr)
        return _STATUS.get(error.code, _DEVICE_FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgewright-agent",
        description="Run a model on this device and report what it does over MQTT.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgewright-agent {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run the artifact")
    run.add_argument("--config", required=True, metavar="FILE", help="configuration as TOML")
    check = commands.add_parser("check", help="validate the configuration and say what this machine offers")
    check.add_argument("--config", required=True, metavar="FILE", help="configuration as TOML")
    check.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _run(config: AgentConfig) -> int:
    _start_log(config)
    agent = Agent(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, lambda signum, _frame: agent.request_stop(f"stopped by {signal.Signals(signum).name}")
        )
    ended = agent.run()
    if ended.code != "ok":
        print(f"edgewright-agent: {ended.message}", file=sys.stderr)
    return _STATUS.get(ended.code, _DEVICE_FAILED)


def _check(config: AgentConfig, *, as_json: bool) -> int:
    """Print everything that can be known without running; exit status 0 when the agent could run."""
    sensors = Sensors(
        sysfs_root=config.sensors.sysfs_root,
        state_directory=config.spool.path.parent,
        pss_interval_seconds=60.0,
    )
    measured = (*sensors.heat(), *sensors.power(time.monotonic()))
    problem, status, artifact = "", 0, ""
    try:
        archive = verify_artifact(config)
        artifact = f"{archive.manifest.name} {archive.manifest.version} for {archive.manifest.target}, {archive.digest}"
    except EdgewrightError as error:
        problem, status = str(error), _STATUS.get(error.code, _DEVICE_FAILED)
    found = {
        "device": config.device.id,
        "artifact": artifact or f"refused: {problem}",
        "engines": available(),
        "host": dict(host_facts()),
        "broker": _broker(config),
        "sensors": {
            one.name: f"absent: {one.value.reason}" if isinstance(one.value, Absent) else one.value
            for one in measured
        },
    }
    if as_json:
        print(json.dumps({"ok": status == 0, **found}, indent=1, ensure_ascii=False))
        return status
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            print("\n".join(f"  {key}: {item}" for key, item in value.items()) or "  none")
        else:
            print(f"{name}: {value}")
    return status


def _broker(config: AgentConfig) -> str:
    if not config.mqtt.enabled:
        return "disabled"
    where = (config.mqtt.host, config.mqtt.port)
    try:
        with socket.create_connection(where, timeout=config.mqtt.connect_timeout_seconds):
            return f"{where[0]}:{where[1]} can be reached"
    except OSError as error:
        return f"{where[0]}:{where[1]} cannot be reached: {error}; messages would wait in the spool"


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


def _start_log(config: AgentConfig) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLines()
        if config.log.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler])
