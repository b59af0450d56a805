"""Edgewright's host tools: from a float model to artifacts that are proven, target by target.

Layout, in the order of the flow:
    pipeline/         `convert`: the flow in one function
    model/            read ONNX, bring it to canonical form
    observe/          run it once over calibration data: `Statistics`
    plan/             decide what every tensor becomes: `QuantizationPlan`
    lower/            write it in the target's format: `Payload`
    equalize/  reconstruct/  mixed_precision/   what makes the plan better
    stages/           these in stages, each only where the one before was not enough
    verify/           run it, hold it against float: `VerificationReport`
    diagnose/         find the layers that cost most, and what helps: `Diagnosis`
    pack/             manifest and members: `Artifact`
    simulate/         a plan in whole numbers, as its target computes it
    lint/             any file against a target: `edgewright targets check`
    inspection/       what a model is, before anything is calibrated
    difference/       what differs between two files
    batch/            many such flows: processes or Dask, one table
    review/           telemetry from the field
    repository/       signed artifacts for the devices' updates
    authority/        certificates of devices
    fleet/            the fleet's server: devices, releases, rollouts
    pages/            HTML pages and charts
    cli/              the command `edgewright`
    recipe.py         what the user asks for; recipe_file.py reads it, recipe_values.py and recipe_agreement.py say what is refused
    typed_json.py     read JSON as the types that it was written from
    target_profiles.py  made_with.py  processor.py   targets, tools and this machine, as the flow needs them
    tflite_file.py  packing.py  user_code.py        files and code that come in; layouts.py: in which order of axes a value is held
    output_folder.py  cache_folder.py  progress.py  what commands share
    terminal_text.py  spreadsheet_text.py           text of others made harmless
    free_port.py  parent_death.py  no_redirect.py   processes and requests of ours
    errors.py         the errors, by who can act
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.contract.errors import EdgewrightError
    from host_tools.pipeline import Conversion, convert
    from host_tools.recipe import Recipe
    from host_tools.recipe_file import read_recipe
    from host_tools.verify.verification_report import Budget, VerificationReport

__all__ = [
    "Budget",
    "Conversion",
    "EdgewrightError",
    "Recipe",
    "VerificationReport",
    "convert",
    "read_recipe",
]

_HOMES = {
    "Budget": "host_tools.verify.verification_report",
    "Conversion": "host_tools.pipeline",
    "EdgewrightError": "device_agent.contract.errors",
    "Recipe": "host_tools.recipe",
    "VerificationReport": "host_tools.verify.verification_report",
    "convert": "host_tools.pipeline",
    "read_recipe": "host_tools.recipe_file",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the engines behind `convert` take a second to load."""
    if name not in _HOMES:
        raise AttributeError(f"module 'host_tools' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
