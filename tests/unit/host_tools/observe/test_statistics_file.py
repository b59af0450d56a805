"""``statistics.json``: exact round trip, and nothing but our own error out of damaged files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.errors import StatisticsError
from host_tools.model.float_model import FloatModel
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.observe.statistics_file import decode, encode
from host_tools.progress import Silent


@pytest.fixture(scope="module")
def written(model: FloatModel, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from tests.e2e.small_network import samples

    path = tmp_path_factory.mktemp("data") / "data.npy"
    np.save(path, samples(4))
    data = open_data(path, inputs=model.inputs)
    return encode(observe(model, data, histograms=True, threads=1, progress=Silent()))


def test_what_is_read_back_is_written_the_same(written: bytes) -> None:
    assert encode(decode(written, where="test")) == written


def test_a_newer_major_version_is_refused_by_name(written: bytes) -> None:
    document = json.loads(written)
    document["schema_version"] = "4.0"
    with pytest.raises(StatisticsError, match=r"f\.json: schema_version: expected 3\.x, got 4\.0"):
        decode(json.dumps(document).encode(), where="f.json")


def test_a_newer_minor_version_is_read(written: bytes) -> None:
    document = json.loads(written)
    document["schema_version"] = "3.7"
    document["something_new"] = 1
    assert decode(json.dumps(document).encode(), where="f.json").sample_count == 4


@pytest.mark.parametrize("peaks", ["", "AAAAAA=="], ids=["none", "of fewer channels"])
def test_peaks_that_are_none_or_of_other_channels_are_refused(written: bytes, peaks: str) -> None:
    document = json.loads(written)
    clipped = [name for name, fields in document["tensors"].items() if fields["channel_peaks"] is not None]
    assert clipped
    document["tensors"][clipped[0]]["channel_peaks"] = peaks
    with pytest.raises(StatisticsError, match=r"f\.json: not statistics: ValueError"):
        decode(json.dumps(document).encode(), where="f.json")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_our_error_only(written: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(written) - 1))
    length = data.draw(st.integers(0, 40))
    damaged = written[:start] + data.draw(st.binary(max_size=20)) + written[start + length :]
    try:
        decode(damaged, where="f.json")
    except StatisticsError as error:
        assert "f.json" in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"schema_version": "3.0"}', b"\xff\xfe", b"[" * 100_000]
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(StatisticsError):
        decode(content, where=str(Path("x.json")))


def _text(dtype: str, *values: float) -> str:
    return base64.b64encode(np.array(values, dtype).tobytes()).decode()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("sample_count",), -1, "expected a whole number of at least 0, got -1"),
        (("sample_count",), True, "expected a whole number of at least 0, got True"),
        (("sample_count",), "4", "expected a whole number of at least 0, got '4'"),
        (("tensors", "images", "channel_axis"), 0.5, "expected a whole number of at least 0, got 0.5"),
        (("tensors", "images", "minimum"), "0", "expected a finite number, got '0'"),
        (("tensors", "images", "minimum"), float("inf"), "expected a finite number, got inf"),
        (("tensors", "images", "maximum"), 10**400, "OverflowError"),
        (("tensors", "images", "channel_mean"), _text("<f8", 0.0, float("nan")), "expected finite numbers"),
        (("tensors", "images", "histogram", "share"), 0, "share: expected a number above 0 and at most 1, got 0"),
        (("tensors", "images", "histogram", "share"), 1.5, "share: expected a number above 0 and at most 1, got 1.5"),
        (("tensors", "images", "histogram", "bins"), _text("<u2", 2, 1), "expected rising bins and as many positive"),
        (("tensors", "images", "histogram", "counts"), _text("<i8", 0), "expected rising bins and as many positive"),
    ],
)  # fmt: skip
def test_numbers_that_no_pass_gathers(
    path: tuple[str, ...], value: object, said: str, written: bytes
) -> None:
    document = json.loads(written)
    fields = document
    for key in path[:-1]:
        fields = fields[key]
    assert path[-1] in fields
    fields[path[-1]] = value
    with pytest.raises(StatisticsError, match=f"f.json: not statistics: .*{said}") as caught:
        decode(json.dumps(document).encode(), where="f.json")
    assert caught.value.hint == "Observe anew."
