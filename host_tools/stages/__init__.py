"""Methods in stages: what costs little is tried first, and what costs more only where it was not enough.

Layout:
    stages.py        prepare(): the stages of one target
    ladder.py        climbing, measuring, keeping or undoing
    methods.py       what each stage does
    uncalibrated.py  prepare_uncalibrated(): the one stage of a precision that needs no data
    imported.py      prepare_imported(): the one stage of a file that is quantized already
    single.py        in_one_stage(): what these two look like in the report
    yardstick.py     what a plan is worth, on samples that nothing was fitted to
"""

from __future__ import annotations

from host_tools.stages.imported import prepare_imported
from host_tools.stages.stages import Prepared, prepare
from host_tools.stages.uncalibrated import prepare_uncalibrated
from host_tools.stages.yardstick import Yardstick

__all__ = ["Prepared", "Yardstick", "prepare", "prepare_imported", "prepare_uncalibrated"]
