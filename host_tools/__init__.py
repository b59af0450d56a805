"""Edgewright's host tools: from a float model to artifacts that are proven, target by target.

Layout, in the order of the flow:
    pipeline/         `convert`: the flow in one function
    model/            read ONNX, bring it to canonical form
    observe/          run it once over calibration data: `Statistics`
    plan/             decide what every tensor becomes: `QuantizationPlan`
    lower/            write it in the target's format: `Payload`
    verify/           run it, hold it against float: `VerificationReport`
    diagnose/         find the layers that cost most, and what helps: `Diagnosis`
    pack/             manifest and members: `Artifact`
    batch/            many such flows: processes or Dask, one table
    review/           telemetry from the field
    pages/            HTML pages and charts
    cli/              the command `edgewright`
    recipe.py         what the user asks for; recipe_file.py reads it, recipe_values.py and recipe_agreement.py say what is refused
    typed_json.py     read JSON as the types that it was written from
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
