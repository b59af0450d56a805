"""Labels: each of the three forms, in the samples' order; and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.errors import DataError
from host_tools.model.float_model import TensorSpec
from host_tools.observe import CalibrationSet, open_data
from host_tools.observe.labels import read_labels, require_classes

INPUT = (TensorSpec(name="x", shape=(1, 2), dtype="float32"),)
NAMES = ("a.npy", "b.npy", "sub/c.npy")


@pytest.fixture
def data(tmp_path: Path) -> CalibrationSet:
    folder = tmp_path / "data"
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((1, 2), np.float32))
    return open_data(folder, inputs=INPUT)


def written(tmp_path: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def reason(path: Path, data: CalibrationSet) -> str:
    with pytest.raises(DataError) as caught:
        read_labels(path, data)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_bare_name_of_two_samples_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        np.save(tmp_path / "data" / folder / "one.npy", np.zeros((1, 2), np.float32))
    twins = open_data(tmp_path / "data", inputs=INPUT)
    path = written(tmp_path, "file,label\none.npy,3\n")
    assert "one.npy is the name of 2 samples, a/one.npy among them" in reason(path, twins)
    paths = written(tmp_path, "file,label\na/one.npy,3\nb/one.npy,4\n")
    assert read_labels(paths, twins) == (3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.npy,7\nb.npy,8\nsub/c.npy,9\n",
        "\ufefffile,label\r\nb.npy,8\r\na.npy,7\r\nc.npy,9\r\n",  # Excel; and a bare name where the sample is in a folder
        "label,other,file\n9,x,sub/c.npy\n8,x,b.npy\n7,x,a.npy\n5,x,of-another-split.npy\n",
        'file,label\n"a.npy", 7 \n"b.npy",8\n"sub/c.npy",9\na.npy,7',
    ],
)
def test_csv_by_file(tmp_path: Path, data: CalibrationSet, text: str) -> None:
    assert read_labels(written(tmp_path, text), data) == (7, 8, 9)


def test_a_number_a_line(tmp_path: Path, data: CalibrationSet) -> None:
    assert read_labels(written(tmp_path, "\ufeff7\n8\n\n9\n", "labels.txt"), data) == (7, 8, 9)


def test_npy(tmp_path: Path, data: CalibrationSet) -> None:
    np.save(tmp_path / "labels.npy", np.array([7, 8, 9], np.uint16))
    assert read_labels(tmp_path / "labels.npy", data) == (7, 8, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.npy,7\nb.npy,8\n", "sample sub/c.npy has no label"),
        ("file,label\na.npy,cat\n", "labels.csv:2: expected a whole number of at least 0, got 'cat'"),
        ("file,label\na.npy\n", "labels.csv:2: expected a whole number of at least 0, got ''"),
        ("file,label\na.npy,-1\n", "got '-1'"),
        ("file,label\na.npy,1.0\n", "got '1.0'"),
        ("file,label\na.npy," + "9" * 5000 + "\n", "labels.csv:2: expected a whole number"),
        ("file,label\na.npy,1\na.npy,2\n", "labels.csv:3: a.npy has two different labels"),
        ("name,class\na.npy,7\n", "expected the columns file and label, got name, class"),
        ('file,label\n"' + "a" * 200_000 + '",7\n', "not readable as CSV"),
        ("7\n8\n", "expected one label for each of 3 samples, got 2"),
        ("7\n8\n9\n10\n", "got 4"),
        ("7\neight\n9\n", "labels.csv:2: expected a whole number"),
        ("", "got 0"),
        (b"\xff\xfe7\x00", "not UTF-8 text"),
    ],
)
def test_labels_that_are_wrong(tmp_path: Path, data: CalibrationSet, text: str | bytes, message: str) -> None:
    assert message in reason(written(tmp_path, text), data)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, 2.0, 3.0]), "expected whole numbers in one dimension, got float64 of shape (3,)"),
        (np.zeros((3, 1), np.int64), "got int64 of shape (3, 1)"),
        (np.array([1, 2]), "expected one label for each of 3 samples, got 2"),
        (np.array([1, -2, 3]), "at least 0, got -2"),
    ],
)
def test_npy_that_is_wrong(tmp_path: Path, data: CalibrationSet, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "labels.npy", array)
    assert message in reason(tmp_path / "labels.npy", data)


def test_labels_are_classes_of_the_model() -> None:
    require_classes((0, 5), 6)
    with pytest.raises(DataError, match=r"sample 1 has label 6; .* classes 0 to 5"):
        require_classes((0, 6), 6)


def test_no_such_file(tmp_path: Path, data: CalibrationSet) -> None:
    for name in ("absent.csv", "absent.npy"):
        assert "cannot be read: No such file or directory." in reason(tmp_path / name, data)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.binary(max_size=60), st.text("fileab,0123456789.\n\r\"'\x00", max_size=60).map(str.encode)
    )
)
def test_any_file_gives_labels_or_our_error(tmp_path: Path, data: CalibrationSet, text: bytes) -> None:
    try:
        labels = read_labels(written(tmp_path, b"file,label\n" + text), data)
    except DataError as error:
        assert "labels.csv" in str(error)
    else:
        assert len(labels) == len(data)
