"""The command `edgewright-agent`: its parser, its exit status, and errors as one line."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent import __version__
from device_agent.config import described, load_config
from device_agent.contract.errors import ConfigError, EdgewrightError, MeasurementError
from device_agent.ending import Terminated, end_in_order, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device_agent.config import AgentConfig

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
_STATUS: Final = {
    "ok": 0,
    "unexpected": 1,
    "config": 2,
    "self_test": 4,
    "self_test_nonfinite": 4,
    "contract": 5,
    "schema_version": 5,
    "archive": 5,
    "trust": 5,
    "digest_mismatch": 5,
    "incompatible": 5,
    "enrolment_refused": 5,
    "transfer": 6,
    "measurement": 8,
}
_DEVICE_FAILED: Final = 7
_LEAST_SECONDS: Final = 0.01
_MOST_SECONDS: Final = 86_400.0
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name that the terminal cannot show is no reason to fail
    options = _parser().parse_args(arguments)
    end_in_order()
    try:
        if options.command == "sensors":  # of this machine, whatever is configured
            status = _sensors(options)
        else:
            config = load_config(options.config)
            status = _COMMANDS[options.command](config, options)
        sys.stdout.flush()  # here, where a reader that went away is met
    except EdgewrightError as error:
        print(f"edgewright-agent: {error}", file=sys.stderr)
        return exit_status(error.code)
    except KeyboardInterrupt as end:
        how = "ended by SIGTERM" if isinstance(end, Terminated) else "interrupted"
        print(f"edgewright-agent: {how}.", file=sys.stderr)
        return status_of(end)
    except BrokenPipeError:
        # Who reads has seen enough, e.g. `head`. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def exit_status(code: str) -> int:
    """Return the exit status for an error's code."""
    return _STATUS.get(code, _DEVICE_FAILED)


def _parser() -> argparse.ArgumentParser:
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


class _StopSignals:
    """Turns signals into requests to stop; those that come before there is an agent wait for it.

    Attributes:
        is_asked: Whether any has come.
    """

    def __init__(self) -> None:
        self._request_stop: Callable[[str], None] | None = None
        self._waiting: list[str] = []
        self.is_asked = False
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._handle)
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, _STOP_SIGNALS
        )  # what `hold` kept for this process comes now

    def hand_to(self, request_stop: Callable[[str], None]) -> None:
        """Hand every signal to ``request_stop``, those that came before included."""
        self._request_stop = request_stop
        for reason in self._waiting:
            request_stop(reason)

    def hold(self) -> None:
        """From now on keep signals for the process that takes this one's place; `is_asked` knows of all that came before."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)

    def _handle(self, number: int, _frame: object) -> None:
        self.is_asked = True
        reason = f"stopped by {signal.Signals(number).name}"
        if self._request_stop is None:
            self._waiting.append(reason)
        else:
            self._request_stop(reason)


def _run(config: AgentConfig, _options: argparse.Namespace) -> int:
    # Before everything that takes its time, so that no signal finds nobody.
    signals = _StopSignals()
    # What `check` does not need, and what needs a valid configuration first, is imported here.
    from device_agent.agent import Agent  # noqa: PLC0415
    from device_agent.log import start_log  # noqa: PLC0415

    start_log(config.log)
    agent = Agent(config)
    signals.hand_to(agent.request_stop)
    ended = agent.run()
    if ended.code == "restart":
        signals.hold()
        if signals.is_asked:  # while it was ending to begin anew: the next start does that
            return exit_status("ok")
        # A model is changed by a new process: the one way a model ever starts, and nothing of the old one stays.
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  our own command, word for word
    if ended.code != "ok":
        print(f"edgewright-agent: {ended.message}", file=sys.stderr)
    return exit_status(ended.code)


def _check(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.check import as_text, check  # noqa: PLC0415  as above

    report = check(config)
    status = 0 if report.problem is None else exit_status(report.problem.code)
    if options.json:
        found = {"ok": status == 0, "config": described(config), **report.facts}
        print(_as_json(found))
    else:
        print(as_text(report))
    if report.problem is not None:
        print(f"edgewright-agent: {report.problem}", file=sys.stderr)
    return status


def _status(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.config.paths import socket_path  # noqa: PLC0415  as above
    from device_agent.operations.status_socket import read_status  # noqa: PLC0415  as above
    from device_agent.operations.status_text import as_text  # noqa: PLC0415  as above

    status = read_status(socket_path(config))
    print(_as_json(status) if options.json else as_text(status))
    return 0


def _diag(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.operations.diagnosis import as_lines, diagnose  # noqa: PLC0415  as above

    findings = diagnose(config)
    if options.json:
        print(_as_json([dataclasses.asdict(finding) for finding in findings]))
    else:
        print(as_lines(findings))
    return _DEVICE_FAILED if any(finding.verdict == "error" for finding in findings) else 0


def _support_bundle(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.operations.support_bundle import write_bundle  # noqa: PLC0415  as above

    sizes = write_bundle(config, options.out)
    for name, size in sizes.items():
        print(f"{size:>9} bytes  {name}")
    print(f"{options.out} is written; look through it before you send it.")
    return 0


def _sensors(options: argparse.Namespace) -> int:
    from device_agent.sensors import listing  # noqa: PLC0415  as above

    if not options.sysfs_root.is_dir():
        raise ConfigError(f"--sysfs-root: {options.sysfs_root} is no folder.")
    if not options.proc_root.is_dir():
        raise ConfigError(f"--proc-root: {options.proc_root} is no folder.")
    if options.vcgencmd is not None and not os.access(options.vcgencmd, os.X_OK):
        raise ConfigError(f"--vcgencmd: {options.vcgencmd} is no program that can be run.")
    inventory = listing.take_inventory(
        options.sysfs_root, vcgencmd=options.vcgencmd, proc_root=options.proc_root
    )
    if options.json:
        print(_as_json(listing.as_json(inventory)))
    else:
        print(listing.as_text(inventory))
    return 0


def _as_json(document: object) -> str:
    """Write JSON that the terminal's encoding can hold: what stands for a character elsewhere is no JSON."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return json.dumps(document, indent=1, ensure_ascii=encoding != "utf8")


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


def _measure(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.energy import command  # noqa: PLC0415  as above
    from device_agent.energy.measure import MeasurePlan, as_json, as_text  # noqa: PLC0415  as above

    plan = MeasurePlan(
        idle_seconds=options.idle_seconds,
        load_seconds=options.seconds,
        interval_seconds=options.interval,
        sustained=options.sustained,
    )
    report = command.measure(config, plan, progress=lambda line: print(line, file=sys.stderr, flush=True))
    print(_as_json(as_json(report)) if options.json else as_text(report))
    if report.invalid:
        raise MeasurementError(
            f"the figures are invalid: {'; '.join(report.invalid)}.",
            hint="Cool the device, or give --sustained to measure it as it is.",
        )
    return 0


def _enrol(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.enrolment.command import enrol_device  # noqa: PLC0415  as above

    print(enrol_device(config, token_file=options.token_file, replace=options.replace))
    return 0


def _renew(config: AgentConfig, _options: argparse.Namespace) -> int:
    from device_agent.enrolment.command import renew_device  # noqa: PLC0415  as above

    print(renew_device(config))
    return 0


_COMMANDS: Final = {
    "run": _run,
    "check": _check,
    "measure": _measure,
    "status": _status,
    "diag": _diag,
    "support-bundle": _support_bundle,
    "enrol": _enrol,
    "renew": _renew,
}
