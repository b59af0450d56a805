"""`Ports`: the tensors of a network that OpenVINO has read, by the names that they had before. A port is an output of an OpenVINO node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    import onnx_ir as ir

_WEIGHTED: Final = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
)
"""OpenVINO's operators for Conv, ConvTranspose, Gemm and MatMul; the weight is their second input."""


class Ports:
    """The ports of a network.

    Args:
        network: The `openvino.Model`; it keeps the names of tensors.
    """

    def __init__(self, network: Any) -> None:
        self._ports: dict[str, Any] = {}
        for node in network.get_ordered_ops():
            if node.get_type_name() == "Result":  # bears its source's names too, but nothing reads from it
                continue
            for port in node.outputs():
                self._ports.update(dict.fromkeys(port.get_names(), port))

    def __contains__(self, name: object) -> bool:
        """Whether OpenVINO kept the tensor."""
        return name in self._ports

    def of(self, name: str) -> Any:
        """Return a tensor's port.

        Raises:
            LoweringError: OpenVINO did not keep it.
        """
        try:
            return self._ports[name]
        except KeyError:
            raise LoweringError(f"Value {name!r}: OpenVINO's reader did not keep this tensor.") from None

    def weighted(self, node: ir.Node) -> Any:
        """Return OpenVINO's node for a weighted node: the producer of its output, behind the Add of a bias.

        Raises:
            LoweringError: OpenVINO made no weighted operator of it.
        """
        found = self.of(node.outputs[0].name or "").get_node()
        while found.get_type_name() not in _WEIGHTED:
            if found.get_input_size() == 0:
                raise LoweringError(
                    f"{node.op_type} {node.name!r}: OpenVINO's reader did not make a weighted operator of it."
                )
            found = found.input_value(0).get_node()
        return found
