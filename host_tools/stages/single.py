"""`in_one_stage`: what a plan that is made at once, and measured by nobody, looks like in the report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from host_tools.stages.stages import Prepared
from host_tools.verify.verification_report import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan


def in_one_stage(name: str, planned: Callable[[], tuple[FloatModel, QuantizationPlan]]) -> Prepared:
    """Make a plan and the float model that it is for, and tell of the one stage that they took."""
    started = time.monotonic()
    model, plan = planned()
    stage = Stage(
        name=name,
        seconds=time.monotonic() - started,
        sqnr_db=None,
        same_top_class=None,
        is_kept=True,
        note=plan.method_reason,
    )
    return Prepared(model=model, statistics=None, plan=plan, stages=(stage,))
