"""What the suites measure with: measurements, percentiles, golden outputs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import ArchiveError
from device_agent.contract.telemetry.measurements import (
    ExponentialHistogram,
    InferenceWindow,
    Reading,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope
from device_agent.telemetry.histogram import RELATIVE_ERROR, SCALE, Histogram
from hil.artifact import golden_inputs, golden_outputs, sample_artifact
from hil.board import GoldenTolerance
from hil.errors import AgentError
from hil.golden import GoldenComparison
from hil.latency import MLPERF_COUNTS, SHARES, after_warm_up, latency_of, least_count
from hil.measurement import Measurement
from hil.throttling import throttled_by
from host_tools import Budget, convert
from host_tools.errors import TargetError
from tests.integration.support import onnx_artifact
from tests.unit.host_tools.review.telemetry_messages import envelope

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("value", "limits", "verdict"),
    [
        (5.0, {}, "none"),
        (math.nan, {}, "none"),
        (5.0, {"low": 5.0}, "pass"),
        (4.999, {"low": 5.0}, "fail"),
        (5.0, {"high": 5.0}, "pass"),
        (5.001, {"high": 5.0}, "fail"),
        (5.0, {"high": 5.0, "margin": 0.1}, "marginal"),
        (4.95, {"high": 5.0, "margin": 0.1}, "marginal"),
        (4.8, {"high": 5.0, "margin": 0.1}, "pass"),
        (1.05, {"low": 1.0, "high": 5.0, "margin": 0.1}, "marginal"),
        (math.nan, {"high": 5.0}, "fail"),
        (math.inf, {"low": 5.0}, "fail"),
    ],
)
def test_a_measurement_has_a_verdict(value: float, limits: dict[str, float], verdict: str) -> None:
    assert Measurement(name="a", value=value, unit="s", **limits).verdict == verdict


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Not a name"},
        {"low": 2.0, "high": 1.0},
        {"high": math.nan},
        {"low": -math.inf},
        {"margin": -1.0},
    ],
)
def test_a_measurement_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="measurement"):
        Measurement(**{"name": "a", "value": 1.0, "unit": "s", **wrong})


def window(nanoseconds: list[int], *, seconds: float = 1.0, scale: int = SCALE) -> InferenceWindow:
    histogram = Histogram()
    for one in nanoseconds:
        histogram.record(one)
    envelope = Envelope(time=1e9, boot_id="b", seq=1, uptime_seconds=1.0, clock="synced", artifact=None)
    return InferenceWindow(
        envelope=envelope,
        window_seconds=seconds,
        inferences_total=len(nanoseconds),
        errors_total=0,
        dropped_frames_total=0,
        throughput_per_second=None,
        latency_count=len(nanoseconds),
        latency_sum_seconds=sum(nanoseconds) * 1e-9,
        latency_min_seconds=None,
        latency_max_seconds=None,
        latency_p50_seconds=None,
        latency_p90_seconds=None,
        latency_p95_seconds=None,
        latency_p99_seconds=None,
        hist=ExponentialHistogram(scale=scale, zero_count=0, counts=dict(histogram.buckets())),
    )


@given(values=st.lists(st.integers(100, 10**9), min_size=1, max_size=600), cut=st.integers(0, 600))
def test_percentiles_of_merged_windows_are_those_of_all_values_and_no_more_than_the_count_bears(
    values: list[int], cut: int
) -> None:
    found = latency_of([window(values[:cut]), window(values[cut:])])
    assert found.count == len(values)
    assert found.mean == pytest.approx(sum(values) * 1e-9 / len(values))
    assert [one.share for one in found.percentiles] == [
        share for share in SHARES if len(values) >= least_count(share)
    ]
    for one in found.percentiles:
        exact = sorted(values)[math.ceil(one.share * len(values)) - 1] * 1e-9
        assert one.value == pytest.approx(exact, rel=RELATIVE_ERROR * 1.0001)
        assert one.low <= one.value <= one.high


def test_counts_that_a_percentile_needs() -> None:
    assert [least_count(share) for share in (0.5, 0.9, 0.99)] == [6, 36, 368]
    few = latency_of([window([1000] * 35)])
    assert [one.share for one in few.percentiles] == [0.5]
    assert few.meets_mlperf == 0.0
    assert latency_of([window([1000] * MLPERF_COUNTS[0.9])]).meets_mlperf == 0.9


def test_an_interval_covers_the_true_percentile_as_often_as_it_says() -> None:
    random, hits, rounds = np.random.default_rng(3), 0, 400
    true = float(-np.log(0.1))  # of an exponential distribution
    for _ in range(rounds):
        values = (random.exponential(1.0, 500) * 1e6).astype(int) + 1
        p90 = next(one for one in latency_of([window(values.tolist())]).percentiles if one.share == 0.9)
        hits += p90.low * (1 - RELATIVE_ERROR) <= true * 1e-3 <= p90.high * (1 + RELATIVE_ERROR)
    assert hits / rounds > 0.93


def test_warm_up_is_by_count_and_by_time() -> None:
    windows = [window([1000] * 10, seconds=0.5) for _ in range(8)]
    kept, left_out = after_warm_up(windows, count=25, seconds=1.0)
    assert (len(kept), left_out) == (5, 30)
    kept, left_out = after_warm_up(windows, count=5, seconds=2.0)
    assert (len(kept), left_out) == (4, 40)
    assert after_warm_up(windows, count=1000, seconds=0.0)[0] == []
    with pytest.raises(AgentError, match="warm-up took all"):
        latency_of([])
    with pytest.raises(AgentError, match="different scales"):
        latency_of([window([1000]), window([1000], scale=4)])


def results_of(archive: ArtifactArchive, change: float = 0.0) -> list[dict[str, Any]]:
    """Return what an agent would write for the golden samples, every value moved by ``change``."""
    tensors = archive.manifest.outputs
    return [
        {
            "frame": str(index),
            "outputs": [
                {
                    "name": tensor.source_name,
                    "values": (np.asarray(array, np.float64) + change).reshape(-1).tolist(),
                }
                for tensor, array in zip(tensors, sample, strict=True)
            ],
        }
        for index, sample in enumerate(golden_outputs(archive))
    ]


def test_outputs_are_held_against_the_golden_ones_in_lsb(tmp_path: Path) -> None:
    archive = ArtifactArchive.open(onnx_artifact(tmp_path / "a.ewa"))  # its output's scale is 0.05
    golden = GoldenComparison(archive, tolerances={"tflite": GoldenTolerance(max_lsb=9)})
    assert (golden.tolerance.max_lsb, golden.tolerance.min_share_within_one) == (1, 0.99), (
        "the artifact's own"
    )
    same = golden.compare(results_of(archive))
    assert (same.max_lsb, same.share_exact, same.values, same.samples) == (0.0, 1.0, 4, 1)
    off = golden.compare([*results_of(archive), *results_of(archive, 0.1)])
    assert (off.max_lsb, off.share_exact, off.share_within_one, off.values) == (2.0, 0.5, 0.5, 8)
    broken = results_of(archive)
    broken[0]["outputs"][0]["values"][0] = math.nan
    assert golden.compare(broken).max_lsb == math.inf
    top = results_of(archive)
    values = top[0]["outputs"][0]["values"]
    top[0]["outputs"][0] = {"name": "y", "indices": [2, 0], "values": [values[2], values[0] + 0.05]}
    assert golden.compare(top).max_lsb == 1.0
    mine = GoldenComparison(archive, tolerances={"onnx": GoldenTolerance(max_lsb=9)})
    assert mine.tolerance == GoldenTolerance(max_lsb=9)
    with pytest.raises(ValueError, match=r"no result of golden samples \[0\]"):
        golden.compare([])
    for outputs, message in (
        ([], "is not told by its values"),
        ([{"name": "y", "values": [1.0]}], "expected 4 values, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            golden.compare([{"frame": "0", "outputs": outputs}])


def test_frames_are_the_golden_inputs_in_real_units_and_the_models_layout(tmp_path: Path) -> None:
    archive = ArtifactArchive.open(sample_artifact(tmp_path, "cortex-a-tflite"))
    (tensor,) = archive.manifest.inputs
    assert tensor.source_axes != tuple(range(4)), "this one is laid out otherwise than the model"
    frames = GoldenComparison(archive, tolerances={}).frames()["x"]
    assert frames.shape == (len(archive.manifest.golden), 1, 3, 16, 16)
    for frame, (codes,) in zip(frames, golden_inputs(archive), strict=True):
        moved = frame.transpose(tensor.source_axes)
        if tensor.scale is None or tensor.zero_point is None:
            assert (moved == codes).all()
        else:
            assert (np.rint(moved / tensor.scale) + tensor.zero_point == codes).all()


def test_frames_of_integers_stay_integers(tmp_path: Path) -> None:
    """An encoder's golden token numbers were sent as floats, each was refused, and the agent ended without a result."""
    table = ", ".join(str(0.25 * number) for number in range(16))
    text = (
        '<ir_version: 8, opset_import: ["" : 18]> g (int64[1,4] ids) => (float[1,4,2] y) '
        f"<float[8,2] t = {{{table}}}> {{ z = Gather(t, ids) y = Sigmoid(z) }}"
    )
    (tmp_path / "ids.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    np.save(tmp_path / "ids.npy", np.arange(32).reshape(8, 1, 4) % 8)
    convert(
        tmp_path / "ids.onnx",
        data=tmp_path / "ids.npy",
        targets=["x86_64-onnxruntime"],
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        latency=False,
        budget=Budget(min_agreement=0.0, min_sqnr_db=0.0),
    )
    (path,) = (tmp_path / "out").glob("*.ewa")
    frames = GoldenComparison(ArtifactArchive.open(path), tolerances={}).frames()["ids"]
    assert frames.dtype == np.int64


def test_what_is_wrong_with_a_sample_or_its_target_is_said(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no-such-target"):
        sample_artifact(tmp_path, "no-such-target")
    archive = ArtifactArchive.open(onnx_artifact(tmp_path / "a.ewa"))
    (sample,) = archive.manifest.golden
    wrong = replace(archive.manifest, golden=(replace(sample, inputs=("payload/model.onnx",)),))
    damaged = ArtifactArchive(
        path=archive.path, manifest=wrong, digest=archive.digest, entries=archive._entries
    )
    with pytest.raises(ArchiveError, match="no array"):
        golden_inputs(damaged)


def thermal(seq: int, **values: float) -> ThermalSample:
    readings = tuple(
        Reading(name=name, value=value, source="hwmon", scope="cpu", quality="sampled")
        for name, value in values.items()
    )
    return ThermalSample(envelope=envelope(seq), readings=readings)


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [
        ({"cooling_cpufreq_cpu0_ratio": 0.0}, {"cooling_cpufreq_cpu0_ratio": 0.5}, ["cooling_cpufreq_cpu0_ratio"]),
        ({"cooling_cpufreq_cpu0_ratio": 0.5}, {"cooling_cpufreq_cpu0_ratio": 0.0}, ["cooling_cpufreq_cpu0_ratio"]),
        ({"rpi_throttled_state": 1.0}, {}, ["rpi_throttled_state"]),
        ({"rpi_throttled_occurred_state": 1.0}, {"rpi_throttled_occurred_state": 1.0}, []),
        ({"cpu_package_throttle_total": 7.0}, {"cpu_package_throttle_total": 8.0}, ["cpu_package_throttle_total"]),
        ({"cpu_package_throttle_total": 7.0}, {"cpu_package_throttle_total": 7.0}, []),
        ({"cpu_frequency_cap_ratio": 1.0}, {"cpu_frequency_cap_ratio": 0.6}, ["cpu_frequency_cap_ratio"]),
        ({"cpu_frequency_cap_ratio": 0.6}, {"cpu_frequency_cap_ratio": 0.6}, []),
        ({"cooling_pwm_fan_ratio": 0.5, "cpu_celsius": 90.0}, {"cooling_pwm_fan_ratio": 1.0}, []),
    ],
    ids=["cooling", "cooled before", "firmware", "long ago", "count rises", "count stays", "cap falls", "cap stays", "fan"],
)  # fmt: skip
def test_what_tells_that_the_processor_was_slowed_down(
    first: dict[str, float], then: dict[str, float], found: list[str]
) -> None:
    assert throttled_by([thermal(1, **first), thermal(2, **then)]) == found
    gone = replace(
        thermal(3), readings=(Reading(name="rpi_throttled_state", value=None, source="rpi", scope="firmware", quality="unavailable"),)
    )  # fmt: skip
    assert throttled_by([gone]) == []
