"""Export a small PyTorch network by both of its ONNX exporters, in an environment with torch, onnx and onnxscript.

`scripts/try_pytorch.py` runs it; it imports nothing of this project.

    python scripts/pytorch_network.py FOLDER

Writes ``exported.onnx`` (`torch.export`, by way of an `ExportedProgram`) and ``traced.onnx`` (the old exporter, by tracing), both with an open
batch, and ``samples.npz``: images, and what the network itself gives of each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch  # in an environment of its own

nn = torch.nn
SAMPLES = 16
OPSET = 18


class SmallNetwork(nn.Module):
    """A convolutional stem with a residual, one attention layer over its pixels, a classifier: (batch, 3, 16, 16) to (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.norm = nn.LayerNorm(16)
        self.attention = nn.Linear(16, 48)
        self.mixed = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return one score a class."""
        stem = self.stem(image)
        tokens = (stem + self.depthwise(stem)).flatten(2).transpose(1, 2)
        # With an axis of heads: onnxscript 0.7 writes attention over four axes only.
        query, key, value = (one.unsqueeze(1) for one in self.attention(self.norm(tokens)).chunk(3, dim=-1))
        tokens = tokens + nn.functional.scaled_dot_product_attention(query, key, value).squeeze(1)
        tokens = tokens + self.mixed(tokens)
        return self.head(tokens.mean(dim=1))


def main(folder: Path) -> None:
    """Write both files and the samples."""
    torch.manual_seed(7)
    network = SmallNetwork()
    with torch.no_grad():
        for _ in range(8):  # BatchNorm learns its mean and variance
            network(torch.randn(32, 3, 16, 16))
    network.eval()
    one = torch.randn(1, 3, 16, 16)
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (torch.randn(2, 3, 16, 16),), dynamic_shapes=({0: batch},))
    torch.onnx.export(
        program,
        f=folder / "exported.onnx",
        input_names=["image"],
        output_names=["scores"],
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
    )
    torch.onnx.export(
        network,
        (one,),
        folder / "traced.onnx",
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    images = torch.randn(SAMPLES, 3, 16, 16)
    with torch.no_grad():
        scores = network(images)
    np.savez(folder / "samples.npz", image=images.numpy(), scores=scores.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
