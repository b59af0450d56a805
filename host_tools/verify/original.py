"""`Original`: a file that was quantized already, on its own engine, beside what was made of it: output codes apart, in LSB of the file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from device_agent.contract.errors import EdgewrightError
from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.lint.interface import ENGINES, payload_tensor
from host_tools.lint.reading import read
from host_tools.verify.metrics import CodeComparison
from host_tools.verify.verification_report import OriginalParity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from host_tools.lint.facts import LintedTensor
    from host_tools.model.float_model import FloatModel
    from host_tools.model.quantized import Quantization

    Arrays = Mapping[str, NDArray[np.generic]]
    RealArrays = Mapping[str, NDArray[np.float64]]

_WANTED: Final = 0.99
"""Share of output codes within one of the file's that is not worth a word."""


class Original:
    """The user's own file on the engine of its format, and how far each target's outputs are from it.

    Args:
        path: The file.
        model: What it was read as, for the shapes that the file leaves open.
        quantization: What it says of its codes; the scales of outputs are the steps of the comparison.
        threads: Threads of one inference.

    Raises:
        EdgewrightError: Its engine is absent or refuses the file, or its inputs cannot be fed.
    """

    def __init__(self, path: Path, model: FloatModel, quantization: Quantization, *, threads: int) -> None:
        file = read(path)
        shapes = {spec.name: spec.shape for spec in (*model.inputs, *model.outputs)}
        self._inputs, self._outputs = (
            tuple(_coded(payload_tensor(_closed(one, shapes), str(path)), quantization) for one in tensors)
            for tensors in (file.inputs, file.outputs)
        )
        self._steps = {
            tensor.source_name: quantization.activations[tensor.source_name].scale[0]
            for tensor in self._outputs
            if tensor.source_name in quantization.activations
        }
        content = path.read_bytes()
        if file.format == "tflite":
            content = _with_shapes_as_allocated(content)
        self._engine = load_engine(ENGINES[file.format], {path.name: content}, threads=threads)
        self._seen: dict[str, CodeComparison] = {}
        self._samples = 0

    @property
    def engine(self) -> str:
        """Engine and version."""
        return f"{self._engine.name} {self._engine.version}"

    def add(self, arrays: Arrays, found: Mapping[str, RealArrays]) -> None:
        """Run one sample.

        Args:
            arrays: As the float model takes it.
            found: Each target's outputs, dequantized.

        Raises:
            EdgewrightError: The engine failed, or the file takes other inputs than the float model.
        """
        outputs = [np.array(one) for one in self._engine.infer(to_payload(arrays, self._inputs))]
        expected = to_source(outputs, self._outputs)
        for target, ours in found.items():
            codes = self._seen.setdefault(target, CodeComparison())
            for name, step in self._steps.items():
                both = (np.rint(np.ravel(values[name]) / step).astype(np.int64) for values in (expected, ours))  # fmt: skip
                codes.add(*both)
        self._samples += 1

    def result(self, target: str) -> OriginalParity | None:
        """Return how far a target is from the file; None where no output of the file is codes."""
        seen = self._seen.get(target)
        if seen is None or not seen.count:
            return None
        return OriginalParity(
            engine=self.engine,
            sample_count=self._samples,
            max_lsb=seen.largest,
            mean_lsb=seen.absolute_sum / seen.count,
            equal_share=seen.equal / seen.count,
            within_one_share=seen.within_one / seen.count,
        )

    def close(self) -> None:
        """Let go of the engine; what was counted stays."""
        self._engine.close()


def _with_shapes_as_allocated(content: bytes) -> bytes:
    """Return a TFLite file that leaves no extent open: what it has for an interpreter is what it is, as the importer takes it."""
    data = bytearray(content)
    model = schema.Model.GetRootAs(data, 0)
    for at in range(model.SubgraphsLength()):
        graph = model.Subgraphs(at)
        for index in range(graph.TensorsLength()):
            signature = graph.Tensors(index).ShapeSignatureAsNumpy()  # a view into the bytes
            shape = graph.Tensors(index).ShapeAsNumpy()
            if isinstance(signature, np.ndarray) and isinstance(shape, np.ndarray) and signature.size == shape.size:  # fmt: skip
                signature[:] = shape
    return bytes(data)


def _closed(tensor: LintedTensor, shapes: Mapping[str, tuple[int, ...]]) -> LintedTensor:
    """Give an input or output that the file leaves open the shape that it was read with."""
    return dataclasses.replace(tensor, shape=shapes.get(tensor.name, tensor.shape))


def _coded(tensor: PayloadTensor, quantization: Quantization) -> PayloadTensor:
    """Give an input or output of codes its scale, which ONNX says at the nodes that read and write it."""
    coding = quantization.activations.get(tensor.source_name)
    if coding is None or tensor.dtype != coding.dtype or tensor.scale is not None:
        return tensor
    return dataclasses.replace(tensor, scale=coding.scale[0], zero_point=coding.zero_point[0])


class Beside:
    """An `Original` where there is one that runs; a note where there is none. What it cannot do is told, and stops nothing."""

    def __init__(self, path: Path | None, model: FloatModel, *, threads: int) -> None:
        self.note = ""
        self._original: Original | None = None
        if path is None or model.quantization is None:
            return
        try:
            self._original = Original(path, model, model.quantization, threads=threads)
        except (EdgewrightError, OSError) as error:
            self._give_up(error)

    def add(self, arrays: Arrays, found: Mapping[str, RealArrays]) -> None:
        """See `Original.add`."""
        if self._original is None or self.note:
            return
        try:
            self._original.add(arrays, found)
        except (EdgewrightError, KeyError) as error:
            self._give_up(error)

    def result(self, target: str) -> OriginalParity | None:
        """See `Original.result`; None where the file did not run."""
        return None if self._original is None or self.note else self._original.result(target)

    def warning(self, target: str) -> str:
        """Return what a report must say of a target: that nothing was compared, or that outputs are far apart; empty for nothing."""
        found = self.result(target)
        if self.note or found is None or found.within_one_share >= _WANTED:
            return self.note
        return (
            f"Only {found.within_one_share:.1%} of the output codes are within one of the file's own in {found.engine}, "
            f"up to {found.max_lsb} apart: kernels round differently, and this network magnifies single codes."
        )

    def close(self) -> None:
        """Let go of the engine."""
        if self._original is not None:
            self._original.close()

    def _give_up(self, error: Exception) -> None:
        self.note = f"The outputs were not compared with those of the file in its own engine: {error}"
