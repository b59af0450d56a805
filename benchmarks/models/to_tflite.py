"""``python -m benchmarks.models.to_tflite``: processor seconds from an ONNX network to a TFLite file, beside onnx2tf and TFLiteConverter.

The network is EfficientNet-Lite0. Each conversion is a process of its own, all in turn; counted are user and system seconds of it and its
children, from loaded libraries to the written file. Of ours in int8 only what comes after calibration counts: plan and lowering. TFLiteConverter
reads the SavedModel that onnx2tf wrote, for it reads no ONNX, and calibrates within its conversion.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.models.packages import Places
from benchmarks.models.to_tflite_peers import processor_seconds
from benchmarks.models.zoo import by_id
from benchmarks.spread import median_and_range
from host_tools.cli.arguments import count
from host_tools.lower.lowering import lower
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import needs_histograms, plan
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL: Final = "efficientnet-lite0"
TARGET: Final = "cortex-a-tflite"
OURS: Final = ("edgewright-int8", "edgewright-float")
THEIRS: Final = ("onnx2tf-float", "tfliteconverter-float", "tfliteconverter-int8")
_PEERS: Final = Path(__file__).with_name("to_tflite_peers.py")
_PYTHON: Final = Path(".venv-onnx2tf/bin/python")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table: who, seconds (median, smallest to largest), bytes of the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models.to_tflite",
        description=__doc__,
        epilog="example: make .venv-onnx2tf/.ready && python -m benchmarks.models.to_tflite --models models/ --data data/",
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder of downloaded packages")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with imagenet_cc")
    parser.add_argument("--samples", type=count, default=100, metavar="N", help="photos to calibrate on")
    parser.add_argument("--repeats", type=count, default=3, metavar="N")
    parser.add_argument(
        "--peers-python",
        type=Path,
        default=_PYTHON,
        metavar="PYTHON",
        help="Python with onnx2tf and TensorFlow (default: %(default)s)",
    )
    parser.add_argument("--one", nargs=2, metavar=("WHO", "DIR"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one is not None:
        print(json.dumps(convert(chosen.one[0], Path(chosen.one[1]))))
        return 0
    if chosen.models is None or chosen.data is None:
        parser.error("--models and --data are needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, Places(packages=chosen.models.resolve(), data=chosen.data.resolve()), chosen.samples)
        found: dict[str, list[dict[str, float]]] = {who: [] for who in (*OURS, *THEIRS)}
        for _ in range(chosen.repeats):
            for who in found:
                told = run(who, folder, chosen.peers_python)
                found[who] += [] if told is None else [told]
    print("| who | processor s | file MB | conversions |\n|---|---|---|---|")
    for who, runs in found.items():
        if not runs:
            print(f"| {who} | not measured | | |")
            continue
        spread = median_and_range([one["seconds"] for one in runs])
        print(
            f"| {who} | {spread.value:.1f} ({spread.low:.1f} to {spread.high:.1f}) | {runs[0]['bytes'] / 1e6:.1f} | {len(runs)} |"
        )
    return 0 if all(found[who] for who in OURS) else 3


def prepare(folder: Path, places: Places, samples: int) -> None:
    """Write the network, and photos as it and as TensorFlow wants them."""
    entry = by_id(MODEL)
    (folder / "model.onnx").write_bytes(entry.model(places, entry))
    arrays = entry.samples(places, "calib", samples)
    np.savez(folder / "samples.npz", **arrays)  # type: ignore[arg-type]  # its stub takes every keyword for its own flag
    [photos] = arrays.values()
    np.save(folder / "photos.npy", photos.reshape(-1, *photos.shape[-3:]).transpose(0, 2, 3, 1))


def run(who: str, folder: Path, peers: Path) -> dict[str, float] | None:
    """Return what a conversion in a process of its own took; None, with the reason told, where it failed."""
    ours = [sys.executable, "-m", "benchmarks.models.to_tflite", "--one", who, str(folder)]
    command = ours if who in OURS else [str(peers), str(_PEERS), who, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        print(f"{who}: {error}; make .venv-onnx2tf/.ready makes that Python", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{who}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", file=sys.stderr)
        return None
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def convert(who: str, folder: Path) -> dict[str, float]:
    """Convert with Edgewright in this process, and return seconds and bytes."""
    began = processor_seconds()
    model, profile = by_id(MODEL).load(folder), load_profile(TARGET)
    is_float = who == "edgewright-float"
    kept = frozenset(node.op_type for node in model.graph.graph) if is_float else frozenset[str]()
    recipe = Recipe(method="minmax" if is_float else None, keep_float=KeepFloat(ops=kept))
    data = open_data(folder / "samples.npz", inputs=model.inputs)
    statistics = observe(model, data, histograms=needs_histograms(recipe), threads=1, progress=Silent())
    began = began if is_float else processor_seconds()
    payload = lower(model, plan(model, statistics, profile, recipe), profile)
    (folder / f"{who}.tflite").write_bytes(payload.files["model.tflite"])
    return {
        "seconds": processor_seconds() - began,
        "bytes": float(sum(map(len, payload.files.values()))),
    }


if __name__ == "__main__":
    sys.exit(main())
