"""What ``edgewright hil scenario from-field`` does; its arguments are in `host_tools.cli.hil`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hil.field.record import read_record
from hil.field.recover import recover
from hil.field.write import encode_scenario
from hil.scenario.parse import parse_scenario
from host_tools.errors import OutputError
from host_tools.review.store.opening import open_store

if TYPE_CHECKING:
    import argparse


def run_from_field(options: argparse.Namespace) -> int:
    """Make a scenario of what a device went through; return the exit status.

    Raises:
        FieldError: The device is unknown, the time is empty or too long, or there is nothing to play.
        StoreError: The store cannot be read.
        OutputError: The file cannot be written.
    """
    with closing(open_store(options.store, read_only=True)) as store:
        record = read_record(store, options.device, options.begin, options.end)
    recovered = recover(record, cores=options.cores)
    data = encode_scenario(recovered)
    scenario = parse_scenario(data, origin=options.out or "the scenario")
    if not options.out:
        sys.stdout.write(data.decode())
        return 0
    try:
        Path(options.out).write_bytes(data)
    except OSError as error:
        raise OutputError(f"{options.out}: cannot be written: {error.strerror or error}.") from error
    print(
        f"{options.out}: {scenario.duration_seconds:g} s, {len(scenario.faults)} faults, "
        f"{len(scenario.temperatures)} points of temperature, {len(scenario.loads)} loads; needs {', '.join(scenario.needs)}"
    )
    for line in recovered.left_out:
        print(f"left out: {line}")
    return 0
