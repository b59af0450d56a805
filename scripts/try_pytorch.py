"""Take in and convert what both ONNX exporters of PyTorch write: ``python scripts/try_pytorch.py --python .venv-pytorch/bin/python``.

`make pytorch` does, with an environment that has torch; nothing else here needs one. A small network with a Conv, a residual and attention is
exported, each file is read, held against what PyTorch itself gave, and converted. What was found is printed; the first thing that is wrong
ends it with status 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from device_agent.contract.errors import EdgewrightError  # noqa: E402  the path comes first
from host_tools.model import load  # noqa: E402
from host_tools.model.reference import FloatRunner  # noqa: E402
from host_tools.pipeline.conversion import convert  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES: Final = ("exported.onnx", "traced.onnx")
TARGETS: Final = ("x86_64-onnxruntime", "cortex-a-tflite")
SHAPES: Final = {"image": (1, 3, 16, 16)}
_TOLERANCE: Final = 1e-4
"""Of the largest score: float32 in another order of sums."""


def main() -> int:
    """Export, read, compare, convert."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="example: python scripts/try_pytorch.py --python .venv-pytorch/bin/python",
    )
    parser.add_argument(
        "--python",
        type=Path,
        required=True,
        metavar="PYTHON",
        help="a Python that has torch, onnx and onnxscript",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgewright-") as held:
        folder = Path(held)
        try:
            subprocess.run(
                [str(options.python), str(ROOT / "scripts" / "pytorch_network.py"), str(folder)], check=True
            )
            samples = np.load(folder / "samples.npz")
            np.save(folder / "images.npy", samples["image"])
            for name in FILES:
                _try(folder, name, samples["image"], samples["scores"])
        except (OSError, subprocess.CalledProcessError, EdgewrightError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


def _try(folder: Path, name: str, images: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Read one file, compare it, convert it.

    Raises:
        EdgewrightError: It is refused, gives other scores than PyTorch, or fails verification.
    """
    model = load(folder / name, shapes=SHAPES)
    runner = FloatRunner(model, threads=1)
    found = np.concatenate([runner.run({"image": image[None]})["scores"] for image in images])
    apart = float(np.abs(found - scores).max() / np.abs(scores).max())
    if apart > _TOLERANCE:
        raise EdgewrightError(
            f"{name}: scores are {apart:.1e} of the largest away from PyTorch's; at most {_TOLERANCE}."
        )
    made = convert(
        folder / name,
        data=folder / "images.npy",
        targets=TARGETS,
        out=folder / Path(name).stem,
        shapes=SHAPES,
        latency=False,
        diagnosis=False,
    )
    sys.stdout.write(f"{name}: {apart:.1e} of the largest score away from PyTorch\n")
    for target in made.report.targets:
        sys.stdout.write(f"  {target.target}: {target.verdict}, {target.agreement.sqnr_db:.1f} dB\n")
        if target.target not in made.artifacts:
            raise EdgewrightError(f"{name}: {target.target} does not ship: {' '.join(target.reasons)}")


if __name__ == "__main__":
    sys.exit(main())
