"""Edgewright's host tools: from a float model to artifacts that are proven, target by target.

Layout, in the order of the flow:
    pipeline.py       `convert`: the flow in one function
    model/            read ONNX, bring it to canonical form
    observe/          run it once over calibration data: `Statistics`
    plan/             decide what every tensor becomes: `QuantizationPlan`
    lower/            write it in the target's format: `Payload`
    verify/           run it, hold it against float: `VerificationReport`
    pack/             manifest and members: `Artifact`
    review/           telemetry from the field
    pages/            HTML pages and charts
    cli/              the command `edgewright`
    recipe.py         what the user asks for
    errors.py         the errors, by who can act
"""

from __future__ import annotations

from device_agent.contract.errors import EdgewrightError
from host_tools.pipeline import Conversion, convert
from host_tools.recipe import Recipe
from host_tools.verify.verification_report import Budget, VerificationReport

__all__ = ["Budget", "Conversion", "EdgewrightError", "Recipe", "VerificationReport", "convert"]
