"""The one sample that looks damaged is named: by its index or its file, whether it sets the scales or cannot be run at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.errors import DataError
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.cache import StatisticsCache, statistics_of
from host_tools.observe.far_samples import FAR
from host_tools.observe.statistics_file import decode, encode
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from targets import catalog
from tests.e2e.small_network import samples, write_network

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan

COUNT = 8


def gathered(folder: Path, arrays: np.ndarray, *, files: bool = False) -> tuple[Statistics, QuantizationPlan]:
    model = load(write_network(folder / "small.onnx"))
    source = folder / "data.npy"
    if files:
        source = folder / "data"
        source.mkdir()
        for index, array in enumerate(arrays):
            np.save(source / f"photo{index}.npy", array)
    else:
        np.save(source, arrays)
    statistics = statistics_of(
        model,
        open_data(source, inputs=model.inputs),
        histograms=False,
        threads=1,
        cache=StatisticsCache(folder / "cache"),
        progress=Silent(),
    )
    return statistics, plan(model, statistics, catalog.load("cortex-a-tflite"), Recipe(method="minmax"))


@pytest.mark.parametrize("factor", [1e3, -1e3, 1e30])
@pytest.mark.parametrize(("files", "name"), [(False, "5"), (True, "photo5.npy")])
def test_a_sample_that_sets_every_scale_is_a_warning_with_its_name(
    tmp_path: Path, factor: float, files: bool, name: str
) -> None:
    arrays = samples(COUNT)
    arrays[5] *= np.float32(factor)
    statistics, planned = gathered(tmp_path, arrays, files=files)
    assert set(statistics.far_samples.values()) == {name}
    said = [warning for warning in planned.warnings if "reaches" in warning]
    assert len(said) == 1, "once, though it sets both ends"
    assert re.match(
        rf"'images': sample {re.escape(name)} of {COUNT} reaches -\S+ and \d\S+, more than", said[0]
    )


def test_statistics_from_the_cache_name_it_too(tmp_path: Path) -> None:
    arrays = samples(COUNT)
    arrays[5] *= 1e3
    first, again = (gathered(tmp_path, arrays)[0].far_samples for _ in range(2))
    assert first == again
    assert set(first.values()) == {"5"}


def test_without_one_nothing_is_said_and_nothing_is_read_again(tmp_path: Path) -> None:
    statistics, planned = gathered(tmp_path, samples(COUNT))
    assert statistics.far_samples == {}
    assert not any("reaches" in warning for warning in planned.warnings)


def test_two_far_samples_are_no_odd_one_out(tmp_path: Path) -> None:
    arrays = samples(COUNT)
    arrays[[2, 5]] *= FAR * 20.0
    statistics, _ = gathered(tmp_path, arrays)
    assert statistics.far_samples == {}


def test_each_end_names_the_sample_that_set_it(tmp_path: Path) -> None:
    arrays = samples(COUNT)
    arrays[2, 0, 3, 3], arrays[6, 0, 3, 3] = -1e6, 2e6
    statistics, planned = gathered(tmp_path, arrays)
    assert statistics.far_samples == {("images", -1e6): "2", ("images", 2e6): "6"}
    said = [warning for warning in planned.warnings if "reaches" in warning]
    assert [one.partition(", more than")[0] for one in said] == [
        f"'images': sample 2 of {COUNT} reaches -1e+06",
        f"'images': sample 6 of {COUNT} reaches 2e+06",
    ]


def test_the_name_is_in_no_file(tmp_path: Path) -> None:
    arrays = samples(COUNT)
    arrays[5] *= 1e3
    statistics, planned = gathered(tmp_path, arrays)
    again = decode(encode(statistics), where="statistics.json")
    assert again.far_samples == {}
    model = load(tmp_path / "small.onnx")
    other = plan(model, again, catalog.load("cortex-a-tflite"), Recipe(method="minmax"))
    assert any(f"one of {COUNT} samples reaches" in warning for warning in other.warnings)
    assert other.tensors == planned.tensors


def test_a_sample_that_overflows_inside_is_an_error_with_file_name_and_reach(tmp_path: Path) -> None:
    arrays = samples(COUNT)
    arrays[5] *= np.float32(1e38) / np.abs(arrays[5]).max()
    arrays[5, 0, :3, :3] = 3e38
    with pytest.raises(
        DataError,
        match=r"data\.npy: sample 5: tensor '.*' becomes NaN or infinite; the sample's inputs: 'images' from",
    ):
        gathered(tmp_path, arrays)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_sample_with_a_number_that_is_none_is_an_error_with_its_name(tmp_path: Path, value: float) -> None:
    arrays = samples(COUNT)
    arrays[5, 0, 3, 3] = value
    with pytest.raises(
        DataError, match=r"data\.npy: sample 5, input 'images': 1 of 768 values are NaN or infinite"
    ):
        gathered(tmp_path, arrays)
