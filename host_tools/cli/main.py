"""The parser of `edgewright`, its exit status, and errors as one line."""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from device_agent import __version__
from device_agent.contract.document import visible, visible_json
from device_agent.contract.errors import (
    ConfigError,
    ContractError,
    DeviceError,
    EdgewrightError,
    TransferError,
    TrustError,
)
from device_agent.ending import Terminated, end_in_order, status_of
from host_tools.cli import (
    batch,
    ca,
    convert,
    diff,
    explain,
    fleet,
    hil,
    ingest,
    inspect,
    release,
    repository,
    review,
    targets,
    telemetry,
)
from host_tools.cli.fault import fault_of
from host_tools.errors import (
    CapabilityError,
    InputError,
    InternalError,
    LoweringError,
    NothingHeardError,
    OutputError,
    StoreError,
    VerificationError,
    missing_package,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = "Deploy neural networks to edge devices: calibrate once, convert for every target, prove it, watch it run."
_EPILOG = """\
examples:
  edgewright convert model.onnx --data photos/ --target x86_64-onnxruntime --target cortex-a-tflite --out build/
  edgewright batch jobs.toml --out build/
  edgewright explain build/
  edgewright targets list
  edgewright inspect model.onnx --target cortex-m-tflm
  edgewright diff old.ewa new.ewa --run 16
  edgewright watch mqtt://localhost
  edgewright report --from mqtt://localhost --seconds 60 --out report.html
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb
  edgewright review serve --store fleet.duckdb
  edgewright fleet serve --database fleet.db
  edgewright hil scenario run hot.toml --rig local

exit status:
  0  done                             4  verification failed: see the report
  2  wrong input or arguments         5  the artifact must not be trusted
  3  the target cannot do it          6  broker or scheduler cannot be reached
  130  interrupted; run it again      7  output, store or device failed
  143  the same, by SIGTERM           70  a fault of Edgewright: report it
"""
INTERNAL = 70
"""Exit status of a fault of ours: no answer of a command has it (EX_SOFTWARE of sysexits.h)."""
_STATUS: tuple[tuple[type[EdgewrightError], int], ...] = (
    (VerificationError, 4),
    (CapabilityError, 3),
    (LoweringError, 3),
    (NothingHeardError, 3),
    (TrustError, 5),
    (TransferError, 6),
    (OutputError, 7),
    (StoreError, 7),
    (DeviceError, 7),
    (InputError, 2),
    (ConfigError, 2),
    (ContractError, 2),
    (InternalError, INTERNAL),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = argparse.Namespace()
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a character that the terminal has not costs itself, not the command
        sys.stdout.reconfigure(errors="replace")
    try:
        options = _parse(arguments)
        if options.run is None:
            return 2
        module, _, function = options.run.partition(":")
        run = getattr(import_module(module), function)
        end_in_order()
        status: int = run(options)
        sys.stdout.flush()
    except KeyboardInterrupt as end:
        how = "Ended by SIGTERM" if isinstance(end, Terminated) else "Interrupted"
        print(
            f"{how}. Nothing half-written was left; the same command goes on where it stopped.",
            file=sys.stderr,
        )
        return status_of(end)
    except EdgewrightError as error:
        _complain(error, as_json=getattr(options, "json", False))
        return exit_status(error)
    except BrokenPipeError:
        # The reader went away (`edgewright targets list | head`): not our failure, and nothing is left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        missing = fault_of(error) if _is_ours(error.name) else missing_package(str(error.name))
        _complain(missing, as_json=getattr(options, "json", False))
        return exit_status(missing)
    except OSError as error:  # of files our own errors speak: what is left is where we print to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        failed = OutputError(f"{error.filename or 'standard output'}: {error.strerror or error}.")
        _complain(failed, as_json=False)
        return exit_status(failed)
    except Exception as error:  # noqa: BLE001 - a fault of ours is one line, too, and no answer
        fault = fault_of(error)
        _complain(fault, as_json=getattr(options, "json", False))
        return exit_status(fault)
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; help is written out here, so that a reader that went away is met here too.

    Raises:
        SystemExit: Help was shown, or the arguments are wrong.
    """
    parser = _parser()
    try:
        for word in sys.argv[1:] if arguments is None else arguments:
            if word.startswith("--") and word.endswith("=--"):  # argparse would hand on a list
                parser.error(f"argument {word[:-3]}: expected a value, got '--'")
        options = parser.parse_args(arguments)
        if options.run is None:
            parser.print_help()
    finally:
        sys.stdout.flush()
    return options


def _is_ours(module: str | None) -> bool:
    return module is None or module.partition(".")[0] in ("host_tools", "device_agent", "targets", "hil")


def exit_status(error: EdgewrightError) -> int:
    """Return the exit status of an error, by who can act on it."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), INTERNAL)


def _complain(error: EdgewrightError, *, as_json: bool) -> None:
    if as_json:
        print(visible_json({"error": {"code": error.code, "message": str(error), "hint": error.hint}}))
    print(f"edgewright: {visible(str(error))}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgewright",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgewright {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (
        convert,
        batch,
        explain,
        targets,
        inspect,
        diff,
        telemetry,
        ingest,
        review,
        ca,
        repository,
        release,
        fleet,
        hil,
    ):
        module.add_parser(commands)
    return parser
