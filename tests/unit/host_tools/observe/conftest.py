"""A small model in canonical form and data for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_tools.model import load
from host_tools.model.float_model import FloatModel
from tests.e2e.small_network import samples, write_network


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return load(write_network(tmp_path_factory.mktemp("model") / "small.onnx"))


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "data.npy"
    np.save(path, samples(20))
    return path
