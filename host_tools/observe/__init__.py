"""Observe: run the float model once over the calibration set, and write down what its tensors do.

Layout:
    sources/            where samples come from
    calibration_set.py  `CalibrationSet`: samples held against the model's inputs
    far_samples.py      the one sample that reaches much further than all others
    labels.py           labels of evaluation samples
    preparation.py      what frames are prepared by: pictures, recordings or texts
    preparation_file.py  which preprocess.toml belongs to some data
    text_input.py       `TextInput`: the tokeniser that it names
    instrument.py       the model with reductions of every tensor as its outputs
    parallel.py         samples side by side, results in order
    exact_sum.py        sums of float32 that do not depend on order
    observer.py         `observe`: one streaming pass, resumable
    statistics.py       `Statistics`: the result
    statistics_file.py  statistics.json
    cache.py            statistics by what they were made from
    ranges.py           statistics to a range, by method: pure
"""

from __future__ import annotations

from host_tools.observe.calibration_set import CalibrationSet, Sample
from host_tools.observe.sources.opening import open_data

__all__ = ["CalibrationSet", "Sample", "open_data"]
