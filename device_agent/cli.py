"""The command `edgewright-agent`: its parser, its exit status, and errors as one line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from device_agent import __version__
from device_agent.config import described, load_config
from device_agent.contract.errors import EdgewrightError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device_agent.config import AgentConfig

_DESCRIPTION: Final = "Run a model on this device and report over MQTT what it does."
_EPILOG: Final = """\
examples:
  edgewright-agent check --config agent.toml          what is wrong, and what this machine offers
  edgewright-agent run --config agent.toml            run until stopped; SIGTERM, SIGINT and SIGHUP drain and say goodbye
  edgewright-agent check --config agent.toml --json   the same for programs

exit status:
  0  ended as asked                     5  the artifact must not be used here
  1  a fault of the agent itself        7  the device failed: engine, source or storage
  2  wrong configuration or arguments   130  interrupted before there was anything to end
  4  the golden self-test failed

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
}
_DEVICE_FAILED: Final = 7
_INTERRUPTED: Final = 128 + signal.SIGINT
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        status = _check(config, as_json=options.json) if options.command == "check" else _run(config)
        sys.stdout.flush()  # here, where a reader that went away is met
    except EdgewrightError as error:
        print(f"edgewright-agent: {error}", file=sys.stderr)
        return exit_status(error.code)
    except KeyboardInterrupt:
        return _INTERRUPTED
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
    for command in (run, check):
        command.add_argument("--config", required=True, metavar="FILE", help="configuration, TOML")
    check.add_argument("--json", action="store_true", help="print JSON")
    return parser


class _StopSignals:
    """Turns signals into requests to stop; those that come before there is an agent wait for it."""

    def __init__(self) -> None:
        self._request_stop: Callable[[str], None] | None = None
        self._waiting: list[str] = []
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._handle)

    def hand_to(self, request_stop: Callable[[str], None]) -> None:
        """Hand every signal to ``request_stop``, those that came before included."""
        self._request_stop = request_stop
        for reason in self._waiting:
            request_stop(reason)

    def _handle(self, number: int, _frame: object) -> None:
        reason = f"stopped by {signal.Signals(number).name}"
        if self._request_stop is None:
            self._waiting.append(reason)
        else:
            self._request_stop(reason)


def _run(config: AgentConfig) -> int:
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
        # A model is changed by a new process: the one way a model ever starts, and nothing of the old one stays.
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  our own command, word for word
    if ended.code != "ok":
        print(f"edgewright-agent: {ended.message}", file=sys.stderr)
    return exit_status(ended.code)


def _check(config: AgentConfig, *, as_json: bool) -> int:
    from device_agent.check import as_text, check  # noqa: PLC0415  as above

    report = check(config)
    status = 0 if report.problem is None else exit_status(report.problem.code)
    if as_json:
        found = {"ok": status == 0, "config": described(config), **report.facts}
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print(as_text(report))
    if report.problem is not None:
        print(f"edgewright-agent: {report.problem}", file=sys.stderr)
    return status
