"""``statistics.json``: exact round trip, and nothing but our own error out of damaged files."""

from __future__ import annotations

import json
from pathlib import Path

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
    import numpy as np

    from tests.e2e.small_network import samples

    path = tmp_path_factory.mktemp("data") / "data.npy"
    np.save(path, samples(4))
    data = open_data(path, inputs=model.inputs)
    return encode(observe(model, data, histograms=True, threads=1, progress=Silent()))


def test_what_is_read_back_is_written_the_same(written: bytes) -> None:
    assert encode(decode(written, where="test")) == written


def test_a_newer_major_version_is_refused_by_name(written: bytes) -> None:
    document = json.loads(written)
    document["schema_version"] = "2.0"
    with pytest.raises(StatisticsError, match=r"f\.json: schema_version: expected 1\.x, got 2\.0"):
        decode(json.dumps(document).encode(), where="f.json")


def test_a_newer_minor_version_is_read(written: bytes) -> None:
    document = json.loads(written)
    document["schema_version"] = "1.7"
    document["something_new"] = 1
    assert decode(json.dumps(document).encode(), where="f.json").sample_count == 4


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
    "content", [b"", b"[]", b"{}", b'{"schema_version": "1.0"}', b"\xff\xfe", b"[" * 100_000]
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(StatisticsError):
        decode(content, where=str(Path("x.json")))
