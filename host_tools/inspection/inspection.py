"""`inspect_model`: a model file becomes a `ModelInspection`. Nothing is calibrated and nothing is run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.errors import ModelError
from host_tools.inspection.cautions import cautions_of
from host_tools.inspection.costs import FLOAT_BYTES, constants_of, int8_bytes, macs_of
from host_tools.inspection.declared import assumed_shapes, declared
from host_tools.inspection.peak_memory import peak_memory
from host_tools.inspection.support import support_of
from host_tools.model import load
from host_tools.model.from_tensorflow.options import TensorFlowOptions
from host_tools.model.incoming import receive
from host_tools.model.topology import named, network_of, outputs_of, shape_of
from host_tools.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.inspection.peak_memory import PeakMemory
    from host_tools.inspection.support import TargetSupport
    from host_tools.model.float_model import TensorSpec
    from host_tools.model.topology import Network
    from targets.profile import CapabilityProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """What one node of the canonical graph costs.

    Attributes:
        name: Its name.
        kind: Its operator type.
        output_shape: Of its first output.
        macs: Multiply-adds, see `host_tools.inspection.costs`.
        parameters: Elements of its float constants; one that several nodes read is counted at the first.
        float_bytes: Of those as float32.
        int8_bytes: Of those at int8, with biases of 32 bits.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    macs: int
    parameters: int
    float_bytes: int
    int8_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInspection:
    """What a float model is and asks for.

    Attributes:
        path: The file.
        name: The model's name.
        digest: `FloatModel.digest`; under assumed shapes that of the model with them.
        opset: As the file has it.
        canonical_opset: After loading.
        producer: What wrote the file; empty when it does not say.
        file_bytes: Size of the file, without weights in other files, or of all files of a folder.
        external_files: Files beside it that hold weights.
        inputs: Inputs that are fed.
        outputs: Outputs.
        nodes: Every node of the canonical graph, in order.
        float_peak: Activations at float32.
        int8_peak: Activations at int8.
        targets: What each target does with it, in the order asked for.
        cautions: What to know before calibrating, one sentence each.
        notes: What bringing it into canonical form changed.
    """

    path: str
    name: str
    digest: str
    opset: int
    canonical_opset: int
    producer: str
    file_bytes: int
    external_files: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    nodes: tuple[NodeCost, ...]
    float_peak: PeakMemory
    int8_peak: PeakMemory
    targets: tuple[TargetSupport, ...]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole model."""
        return sum(node.macs for node in self.nodes)

    @property
    def parameters(self) -> int:
        """Float constants that nodes compute with, after BatchNormalization was folded."""
        return sum(node.parameters for node in self.nodes)

    @property
    def float_bytes(self) -> int:
        """Bytes of the parameters as float32."""
        return sum(node.float_bytes for node in self.nodes)

    @property
    def int8_bytes(self) -> int:
        """Bytes of the parameters at int8."""
        return sum(node.int8_bytes for node in self.nodes)

    def integer_macs(self, support: TargetSupport) -> float | None:
        """Return the share of the MACs that a target does in integers; None when it does nothing, or there are none."""
        in_float = {node.name for node in support.in_float}
        if not support.nodes or not self.macs:
            return None
        return 1.0 - sum(node.macs for node in self.nodes if node.name in in_float) / self.macs


def inspect_model(
    path: str | Path,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, tuple[float, ...]] | None = None,
    profiles: Sequence[CapabilityProfile],
    rehearse: bool,
    tensorflow: TensorFlowOptions | None = None,
    progress: Progress | None = None,
) -> ModelInspection:
    """Read a float model and say what it is, what it costs, and what each target does with it.

    Args:
        path: A model file, or a SavedModel's folder.
        shapes: Shapes that fix dynamic inputs, by name; where only the first axis of an input is open, 1 is assumed.
        constants: Inputs that become constants, by name.
        profiles: The targets to ask.
        rehearse: Whether to ask their lowerings too, see `host_tools.inspection.support`.
        tensorflow: How a model of Keras or TensorFlow is read.
        progress: Told of a conversion to ONNX.

    Raises:
        ModelError: The file cannot be read, or is no float model that we convert; `host_tools.model.load` says which errors there are.
    """
    path = Path(path)
    incoming = receive(
        path, shapes=shapes, tensorflow=tensorflow or TensorFlowOptions(), progress=progress or Silent()
    )
    file = declared(incoming.onnx)
    open_inputs = (
        () if file is None else tuple(one for one in file.inputs if one.name not in (constants or {}))
    )
    assumed = assumed_shapes(open_inputs, shapes)
    model = load(incoming, shapes={**assumed, **shapes}, constants=constants)
    if file is None:
        raise ModelError(f"{path} changed while it was read.", hint="Try again.")
    network = network_of(model.graph)
    return ModelInspection(
        path=str(path),
        name=model.name,
        digest=model.digest,
        opset=file.opset,
        canonical_opset=int(model.graph.graph.opset_imports[""]),
        producer=file.producer,
        file_bytes=_size_of(path),
        external_files=file.external_files,
        inputs=model.inputs,
        outputs=model.outputs,
        nodes=_costs(network),
        float_peak=peak_memory(network, float_bytes=FLOAT_BYTES),
        int8_peak=peak_memory(network, float_bytes=1),
        targets=tuple(support_of(model, network, profile, rehearse=rehearse) for profile in profiles),
        cautions=cautions_of(model, network, file, assumed),
        notes=model.notes,
    )


def _size_of(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _costs(network: Network) -> tuple[NodeCost, ...]:
    seen: set[str] = set()
    costs = []
    for name, node in network.nodes.items():
        constants = [value for value in constants_of(node) if named(value) not in seen]
        seen.update(named(value) for value in constants)
        parameters = sum(math.prod(shape_of(value)) for value in constants)
        costs.append(
            NodeCost(
                name=name,
                kind=node.op_type,
                output_shape=shape_of(outputs_of(node)[0]),
                macs=macs_of(node),
                parameters=parameters,
                float_bytes=FLOAT_BYTES * parameters,
                int8_bytes=sum(int8_bytes(node, value) for value in constants),
            )
        )
    return tuple(costs)
