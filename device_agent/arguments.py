"""The arguments of `edgewright-agent`, with their help and examples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from device_agent import __version__

_DESCRIPTION: Final = "Run a model on this device and report over MQTT what it does."
_EPILOG: Final = """\
examples:
  edgewright-agent check --config agent.toml          what is wrong, and what this machine offers
  edgewright-agent run --config agent.toml            run until stopped; SIGTERM, SIGINT and SIGHUP drain and say goodbye
  edgewright-agent check --config agent.toml --json   the same for programs
  edgewright-agent status --config agent.toml         what the running agent does, since when, and its last errors
  edgewright-agent status --config agent.toml --json  the same for programs
  edgewright-agent diag --config agent.toml           what is wrong here, and what to do
  edgewright-agent support-bundle --config agent.toml --out bundle.tar.gz
                                                      for whoever helps; holds no secret
  edgewright-agent sensors                            what this machine can measure, and why the rest is missing
  edgewright-agent measure --config agent.toml        energy of one inference
  edgewright-agent measure --config agent.toml --sustained --seconds 1800
                                                      what remains of it when the device gets hot
  edgewright-agent enrol --config agent.toml --token-file claim.txt
                                                      get this device's certificate, once
  edgewright-agent enrol --config agent.toml --token-file claim.txt --replace
                                                      get another one, with a new token
  edgewright-agent renew --config agent.toml          renew it now; `run` does it by itself in time

exit status:
  0  ended as asked                     5  the artifact, identity or server must not be trusted
  1  a fault of the agent itself        6  the server cannot be reached: try again
  2  wrong configuration or arguments   7  the device failed: engine, source, storage or clock
  4  the golden self-test failed        8  nothing measures energy here, or it was throttled
                                        130  interrupted before there was anything to end
                                        143  the same, by SIGTERM

docs/agent.md has every key of the configuration, and what each exit status means.
"""
_LEAST_SECONDS: Final = 0.01
_MOST_SECONDS: Final = 86_400.0


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command; ``command`` is the verb."""
    parser = argparse.ArgumentParser(
        prog="edgewright-agent",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgewright-agent {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run the artifact until stopped")
    check = commands.add_parser("check", help="validate the configuration and say what this machine offers")
    status = commands.add_parser("status", help="ask the running agent what it does")
    diag = commands.add_parser("diag", help="say what is wrong on this machine, and what to do")
    bundle = commands.add_parser("support-bundle", help="write what helps whoever helps, without secrets")
    bundle.add_argument("--out", required=True, metavar="FILE", type=Path, help="archive to write, .tar.gz")
    sensors = commands.add_parser(
        "sensors", help="list what this machine can measure, and why the rest is missing"
    )
    measure = commands.add_parser("measure", help="measure the energy of one inference")
    measure.add_argument(
        "--idle-seconds", type=_seconds, default=30.0, metavar="S", help="baseline; default 30"
    )
    measure.add_argument(
        "--seconds", type=_seconds, default=10.0, metavar="S", help="load window; default 10"
    )
    measure.add_argument(
        "--interval",
        type=_seconds,
        default=0.5,
        metavar="S",
        help="between samples of the sensors; default 0.5",
    )
    measure.add_argument(
        "--sustained",
        action="store_true",
        help="throttling is looked for and does not make the figures invalid",
    )
    sensors.add_argument(
        "--sysfs-root", type=Path, default=Path("/sys"), metavar="DIR", help="a tree that stands for /sys"
    )
    sensors.add_argument(
        "--proc-root", type=Path, default=Path("/proc"), metavar="DIR", help="a tree that stands for /proc"
    )
    sensors.add_argument(
        "--vcgencmd", type=Path, metavar="FILE", help="program that asks a Raspberry Pi's firmware"
    )
    for command in (check, status, diag, sensors, measure):
        command.add_argument("--json", action="store_true", help="print JSON")
    enrol = commands.add_parser("enrol", help="get this device's certificate with a claim token")
    renew = commands.add_parser("renew", help="renew the certificate now; `run` does it by itself in time")
    for command in (run, check, status, diag, bundle, measure, enrol, renew):
        command.add_argument("--config", required=True, metavar="FILE", help="configuration, TOML")
    for name, command in commands.choices.items():
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.epilog = _examples_of(name)
    enrol.add_argument(
        "--token-file",
        required=True,
        metavar="FILE",
        help="file that holds the claim token; - is standard input",
    )
    enrol.add_argument(
        "--replace",
        action="store_true",
        help="enrol anew; the old certificate is used until the new one is there",
    )
    return parser


def _examples_of(command: str) -> str:
    """Return the examples of one command, each with the line that goes on from it."""
    chosen, belongs = [], False
    for line in _EPILOG.split("\n\n", maxsplit=1)[0].splitlines()[1:]:
        if line.startswith("  edgewright-agent "):
            belongs = line.split()[1] == command
        if belongs:
            chosen.append(line)
    return "\n".join(["examples:", *chosen])


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")  # no number is in no range
    if not _LEAST_SECONDS <= value <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"expected {_LEAST_SECONDS:g} to {_MOST_SECONDS:g} seconds, got {text}"
        )
    return value
