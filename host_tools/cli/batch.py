"""`edgewright batch`: its arguments. What it does is in `batch_run`."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import count

_EPILOG = """\
JOBS.toml (docs/batch.md has every key)
  [defaults]
  targets = ["x86_64-onnxruntime", "cortex-a-tflite"]
  data = "calibration/"              # relative to the folder of JOBS.toml

  [[model]]
  path = "models/*.onnx"             # one job a file, named after it

  [[model]]
  path = "detector.onnx"
  data = "frames.npz"
  targets = ["nxp-neutron"]
  budget = { min_sqnr_db = 12.0 }

examples:
  edgewright batch jobs.toml --out build/
  edgewright batch jobs.toml --out build/ --executor processes:4
  edgewright batch jobs.toml --out /shared/build --executor dask://scheduler:8786
  edgewright batch jobs.toml --out build/ --jobs 'resnet*'

The same command again does what is not done yet, or what changed: model, data, recipe, settings, profiles, versions.
Results: OUT/NAME/ for each model as `edgewright convert` makes it, and batch.html, batch.csv, batch.json for all.

exit status: that of the gravest job
  0  all pass           3  a target was refused      2, 7  a job could not be done: see the table
  4  a verdict failed   6  no scheduler or worker    130   interrupted; the same command goes on
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "batch",
        help="convert several models, each for several targets",
        description="Convert every model that JOBS.toml lists, side by side; go on where an earlier run stopped.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("jobs_file", metavar="JOBS.toml", help="models, targets and settings, see below")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for all results")
    parser.add_argument(
        "--executor",
        default="processes",
        metavar="WHAT",
        help="processes[:N] of this machine (default: one for every two cores), dask (a cluster in this process, to try it), "
        "or dask://HOST:PORT (a scheduler; its workers must see all files under the same paths)",
    )
    parser.add_argument(
        "--jobs",
        action="append",
        default=[],
        metavar="NAME",
        dest="chosen",
        help="only the jobs of this name or pattern; repeatable",
    )
    parser.add_argument("--redo", action="store_true", help="also do again what is done and unchanged")
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="threads of one job (default: the cores, shared out; at most 4)",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="folder of cached statistics (default: ~/.cache/edgewright)"
    )
    parser.add_argument("--json", action="store_true", help="print batch.json on standard output, no table")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run="host_tools.cli.batch_run:run")
