"""An interrupted reconstruction goes on where it was and comes to the same bytes, whatever lies in its folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host_tools.errors import OutputError
from host_tools.plan.plan_file import encode
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.reconstruct import reconstruct
from host_tools.reconstruct.checkpoint import Checkpoint, key_of
from tests.unit.host_tools.reconstruct.hard_networks import Hard, hard
from tests.unit.host_tools.reconstruct.interrupted import FOUR_BITS

REPOSITORY = Path(__file__).parents[4]
OPERATORS = 4


class Counting(Checkpoint):
    """Knows how many operators were solved and not found."""

    solved = 0

    def keep(self, node, **arrays):
        self.solved += 1
        super().keep(node, **arrays)


class StoppedError(Exception):
    pass


class Stopping(Silent):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, count: int = 1) -> None:
        self.left -= count
        if self.left == 0:
            raise StoppedError


def checkpoint_of(network: Hard, folder: Path) -> Counting:
    return Counting(folder, key_of(network.plan, network.data))


def reconstructed(network: Hard, checkpoint, progress=None, threads: int = 1):
    return reconstruct(
        network.model,
        network.plan,
        network.profile,
        network.data,
        threads=threads,
        progress=progress or Silent(),
        checkpoint=checkpoint,
    )


def stopped(network: Hard, folder: Path, steps: int) -> list[Path]:
    """Stop after so many operators and return the files that are there."""
    with pytest.raises(StoppedError):
        reconstructed(network, checkpoint_of(network, folder), Stopping(steps))
    return sorted(folder.glob("*.reconstruction/*"))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return hard(tmp_path_factory.mktemp("network"), profile=FOUR_BITS)


@pytest.fixture(scope="module")
def whole(network):
    """The plan without interruption."""
    return encode(reconstructed(network, None))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", [1, 3])
def test_after_a_signal_it_goes_on(tmp_path, network, whole, number, steps):
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.unit.host_tools.reconstruct.interrupted",
            tmp_path,
            str(int(number)),
            str(steps),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == -number
    checkpoint = checkpoint_of(network, tmp_path / "cache")
    assert encode(reconstructed(network, checkpoint)) == whole
    assert checkpoint.solved == OPERATORS - steps
    assert not list((tmp_path / "cache").iterdir())


def test_again_and_again(tmp_path, network, whole):
    for steps in (1, 2, 3):
        assert len(stopped(network, tmp_path / "cache", steps)) == steps
    checkpoint = checkpoint_of(network, tmp_path / "cache")
    assert encode(reconstructed(network, checkpoint)) == whole
    assert checkpoint.solved == 1


def saved(path: Path, **arrays) -> None:
    """Write arrays in the place of a file, and the scales that it had."""
    scales = np.load(path)["scales"]
    written(path, **{"scales": scales, **arrays})


def written(path: Path, **arrays) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def damages():
    """Yield a name and what happens to a file that holds 12 codes of 12 values, and 12 biases."""
    good = {"codes": np.zeros((12, 12, 1, 1)), "bias": np.zeros(12)}
    yield "empty", lambda path: path.write_bytes(b"")
    yield "garbage", lambda path: path.write_bytes(b"\x93NUMPY" + bytes(range(256)))
    yield "cut", lambda path: path.write_bytes(path.read_bytes()[:-30])
    yield "flipped", lambda path: path.write_bytes(path.read_bytes().replace(b"\x40", b"\x41"))
    yield "no codes", lambda path: saved(path, bias=good["bias"])
    yield "no scales", lambda path: written(path, **good)
    yield "another array", lambda path: saved(path, **good, more=np.zeros(1))
    yield "other shape", lambda path: saved(path, **{**good, "codes": np.zeros((12, 12))})
    yield "other size", lambda path: saved(path, **{**good, "codes": np.zeros((3, 12, 1, 1))})
    yield "beyond the codes", lambda path: saved(path, **{**good, "codes": np.full((12, 12, 1, 1), 8.0)})
    yield "no whole codes", lambda path: saved(path, **{**good, "codes": np.full((12, 12, 1, 1), 0.5)})
    yield "not a number", lambda path: saved(path, **{**good, "codes": np.full((12, 12, 1, 1), np.nan)})
    yield "infinite bias", lambda path: saved(path, **{**good, "bias": np.full(12, np.inf)})
    yield "few biases", lambda path: saved(path, **{**good, "bias": np.zeros(3)})
    yield "another scale", lambda path: saved(path, **{**good, "scales": np.full(1, 0.123)})
    yield "many scales", lambda path: saved(path, **{**good, "scales": np.ones(12)})
    yield "objects", lambda path: saved(path, **{**good, "bias": np.asarray([None] * 12)})
    yield "texts", lambda path: saved(path, **{**good, "bias": np.asarray(["a"] * 12)})


DAMAGES = dict(damages())


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_damaged_files_count_as_absent(tmp_path, network, whole, kind):
    files = stopped(network, tmp_path / "cache", 3)
    for path in files:
        DAMAGES[kind](path)
    checkpoint = checkpoint_of(network, tmp_path / "cache")
    assert encode(reconstructed(network, checkpoint)) == whole
    assert checkpoint.solved == OPERATORS


def test_a_file_that_was_not_finished_is_no_file(tmp_path, network, whole):
    files = stopped(network, tmp_path / "cache", 2)
    files[0].rename(files[0].with_name(f".{files[0].name}.1234.partial"))
    checkpoint = checkpoint_of(network, tmp_path / "cache")
    assert encode(reconstructed(network, checkpoint)) == whole
    assert checkpoint.solved == 3
    assert not list((tmp_path / "cache").iterdir())


def test_another_plan_has_another_checkpoint(tmp_path, network):
    others = [
        plan(network.model, network.statistics, network.profile, recipe)
        for recipe in (
            Recipe(method="minmax"),
            Recipe(method="percentile", percentile=99.0),
            Recipe(method="percentile", percentile=98.0),
            Recipe(bias_correction=False),
            Recipe(keep_float=KeepFloat(ops=frozenset({"Gemm"}))),
        )
    ]
    keys = [key_of(one, network.data) for one in (network.plan, *others)]
    assert len({encode(one) for one in (network.plan, *others)}) == len(set(keys)) == 6
    assert key_of(network.plan, network.data.without_spread(1)) not in keys
    assert key_of(network.plan, network.data.spread(8)) not in keys
    assert key_of(replace(network.plan, data_digest="sha256:0"), network.data) not in keys
    assert key_of(replace(network.plan, model_digest="sha256:0"), network.data) not in keys
    assert key_of(replace(network.plan, profile_digest="sha256:0"), network.data) not in keys
    stopped(network, tmp_path / "cache", 3)
    other = replace(network, plan=others[0])
    checkpoint = checkpoint_of(other, tmp_path / "cache")
    assert encode(reconstructed(other, checkpoint)) == encode(reconstructed(other, None))
    assert checkpoint.solved == OPERATORS


def test_the_number_of_threads_is_no_part_of_it(tmp_path, network, whole):
    assert encode(reconstructed(network, None, threads=2)) == whole


def test_a_folder_that_cannot_be_written_is_named(tmp_path, network):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="file") as caught:
        reconstructed(network, checkpoint_of(network, tmp_path / "file"))
    assert "--cache" in caught.value.hint
    cache = tmp_path / "cache"
    (path,) = stopped(network, cache, 1)
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("")
    with pytest.raises(OutputError, match="reconstruction"):
        reconstructed(network, checkpoint_of(network, cache))
    assert not list(cache.glob("*/.*.partial"))


class TakenAway:
    """An array that, when it is written, lets another process end and take the checkpoint's folder away: once, or every time."""

    def __init__(self, other: Checkpoint, *, times: int) -> None:
        self._other = other
        self._left = times

    def __array__(self, dtype=None, copy=None):
        if self._left:
            self._left -= 1
            self._other.remove()
        return np.zeros(3)


def test_the_same_conversion_may_end_in_another_process(tmp_path):
    other, own = (Checkpoint(tmp_path / "cache", "key") for _ in range(2))
    own.keep("node", codes=np.ones(3), bias=TakenAway(other, times=1), scales=np.ones(1))
    kept = own.find("node")
    assert kept is not None
    assert set(kept) == {"codes", "bias", "scales"}
    with pytest.raises(OutputError, match="reconstruction: No such file"):
        own.keep("node", codes=np.ones(3), bias=TakenAway(other, times=9), scales=np.ones(1))
    assert not list(tmp_path.glob("cache/*/.*.partial"))
