"""The command `edgewright-agent`: what each verb does, its exit status, and errors as one line. `arguments` has the parser."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from typing import TYPE_CHECKING, Final

from device_agent.arguments import command_parser
from device_agent.config import described, load_config
from device_agent.contract.document import visible, visible_json
from device_agent.contract.errors import ConfigError, EdgewrightError, MeasurementError, StorageError
from device_agent.ending import Terminated, end_in_order, status_of
from device_agent.stop_signals import StopSignals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from device_agent.config import AgentConfig

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name that the terminal cannot show is no reason to fail
    options = command_parser().parse_args(arguments)
    end_in_order()
    try:
        if options.command == "sensors":  # of this machine, whatever is configured
            status = _sensors(options)
        else:
            config = load_config(options.config)
            status = _COMMANDS[options.command](config, options)
    except EdgewrightError as error:
        _complain(error)
        return exit_status(error.code)
    except KeyboardInterrupt as end:
        how = "ended by SIGTERM" if isinstance(end, Terminated) else "interrupted"
        print(f"edgewright-agent: {how}.", file=sys.stderr)
        return status_of(end)
    except BrokenPipeError:
        _forget_output()  # who reads has seen enough, e.g. `head`
        return 0
    return status


def exit_status(code: str) -> int:
    """Return the exit status for an error's code."""
    return _STATUS.get(code, _DEVICE_FAILED)


def _run(config: AgentConfig, _options: argparse.Namespace) -> int:
    # Before everything that takes its time, so that no signal finds nobody.
    signals = StopSignals()
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
        _complain(ended.message)
    status = exit_status(ended.code)
    if agent.leaves_an_engine:
        # Its thread would return into an interpreter that ends, be taken apart within C++, and abort the process.
        sys.stderr.flush()
        os._exit(status)
    return status


def _check(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.check import as_text, check  # noqa: PLC0415  as above

    report = check(config)
    status = 0 if report.problem is None else exit_status(report.problem.code)
    if options.json:
        found = {"ok": status == 0, "config": described(config), **report.facts}
        _say(_as_json(found))
    else:
        _show(as_text(report))
    if report.problem is not None:
        _complain(report.problem)
    return status


def _status(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.config.paths import socket_path  # noqa: PLC0415  as above
    from device_agent.operations.status_socket import read_status, understood  # noqa: PLC0415  as above
    from device_agent.operations.status_text import as_text  # noqa: PLC0415  as above

    path = socket_path(config)
    status = read_status(path)
    with understood(path):
        text = _as_json(status) if options.json else visible(as_text(status))
    _say(text)
    return 0


def _diag(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.operations.diagnosis import as_lines, diagnose  # noqa: PLC0415  as above

    findings = diagnose(config)
    if options.json:
        _say(_as_json([dataclasses.asdict(finding) for finding in findings]))
    else:
        _show(as_lines(findings))
    return _DEVICE_FAILED if any(finding.verdict == "error" for finding in findings) else 0


def _support_bundle(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.operations.support_bundle import write_bundle  # noqa: PLC0415  as above

    sizes = write_bundle(config, options.out)
    for name, size in sizes.items():
        _say(f"{size:>9} bytes  {name}")
    _say(f"{options.out} is written; look through it before you send it.")
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
        _say(_as_json(listing.as_json(inventory)))
    else:
        _show(listing.as_text(inventory))
    return 0


def _complain(reason: object) -> None:
    print(f"edgewright-agent: {visible(str(reason))}", file=sys.stderr)


def _show(text: str) -> None:
    """Print what is for people; raises as `_say`."""
    _say(visible(text))


def _say(text: str) -> None:
    """Print, and meet here a reader that went away or a disk that is full.

    Raises:
        BrokenPipeError: The reader has seen enough.
        StorageError: It cannot be written.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_output()
        raise StorageError(f"standard output: cannot be written: {error.strerror or error}.") from error


def _forget_output() -> None:
    """Let what was not written go: Python would try, and complain, once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_json(document: object) -> str:
    """Write JSON that the terminal's encoding can hold: what stands for a character elsewhere is no JSON."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return visible_json(document, indent=1, ascii_only=encoding != "utf8")


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
    _say(_as_json(as_json(report)) if options.json else visible(as_text(report)))
    if report.invalid:
        raise MeasurementError(
            f"the figures are invalid: {'; '.join(report.invalid)}.",
            hint="Cool the device, or give --sustained to measure it as it is.",
        )
    return 0


def _enrol(config: AgentConfig, options: argparse.Namespace) -> int:
    from device_agent.enrolment.command import enrol_device  # noqa: PLC0415  as above

    _say(enrol_device(config, token_file=options.token_file, replace=options.replace))
    return 0


def _renew(config: AgentConfig, _options: argparse.Namespace) -> int:
    from device_agent.enrolment.command import renew_device  # noqa: PLC0415  as above

    _say(renew_device(config))
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
