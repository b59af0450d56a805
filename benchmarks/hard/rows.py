"""The rows of the table: a target each, what its file must reach, and the peers that are held to the same constraint or an easier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.made import EngineKind
    from benchmarks.tasks import Doer, Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How a peer is used.

    Attributes:
        name: For people.
        doer: Module of `benchmarks.peers`.
        engine: What runs its file; None where the peer simulates it and writes the logits.
        method: In the doer's own words.
        scheme: What its integers must be.
    """

    name: str
    doer: Doer
    engine: EngineKind | None = "onnx"
    method: str = ""
    scheme: Scheme = "per_channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A target.

    Attributes:
        target: Profile id.
        engine: What runs its file.
        least_gain: Smallest top-1 minus float, in points; None where nothing was promised.
        least_same: Smallest share of pictures in float's class.
        peers: Who is held to the same constraint, or to an easier one.
        is_simulated: The device rounds as no engine here does: what counts is `host_tools.simulate`.
    """

    target: str
    engine: EngineKind = "onnx"
    least_gain: float | None = None
    least_same: float | None = None
    peers: tuple[Peer, ...] = ()
    is_simulated: bool = False

    @property
    def file(self) -> str:
        """Name of the main file in the target's folder."""
        return "model.tflite" if self.engine == "tflite" else "model.onnx"


_STATIC: Final = "quantize_static MinMax"
ORT_PER_TENSOR_SYMMETRIC: Final = Peer(
    name=f"{_STATIC}, per tensor, symmetric", doer="onnxruntime_static", scheme="per_tensor_symmetric"
)
ORT_PER_TENSOR: Final = Peer(name=f"{_STATIC}, per tensor", doer="onnxruntime_static", scheme="per_tensor")
ORT_SYMMETRIC: Final = Peer(name=f"{_STATIC}, symmetric", doer="onnxruntime_static", scheme="symmetric")
NNCF_ACCURATE: Final = Peer(
    name="NNCF, per tensor, accurate bias correction", doer="nncf_accurate", engine="openvino"
)
AIMET: Final = Peer(name="AIMET, equalization and AdaRound", doer="aimet_adaround")
QUARK_CORRECTED: Final = Peer(
    name="Quark, equalization and bias correction", doer="quark", method="corrected"
)
QUARK_XINT8: Final = Peer(name="Quark XINT8", doer="quark", method="XINT8")
ESP_PPQ: Final = Peer(name="esp-ppq, ESP32-S3", doer="esp_ppq", engine=None)

ROWS: Final = (
    Row(
        target="generic-per-tensor-symmetric",
        least_gain=-0.75,
        least_same=0.975,
        peers=(ORT_PER_TENSOR_SYMMETRIC, NNCF_ACCURATE, AIMET, QUARK_CORRECTED),
    ),
    Row(
        target="generic-power-of-two",
        least_gain=-1.0,
        least_same=0.97,
        peers=(QUARK_XINT8, ESP_PPQ),
    ),
    Row(
        target="nxp-neutron",
        engine="tflite",
        least_gain=-0.75,
        least_same=0.975,
        peers=(ORT_PER_TENSOR, NNCF_ACCURATE),
    ),
    Row(
        target="amd-vitis-dpu",
        least_gain=-1.0,
        least_same=0.97,
        peers=(QUARK_XINT8,),
        is_simulated=True,
    ),
    Row(
        target="espressif-esp32s3",
        least_gain=-1.0,
        least_same=0.97,
        peers=(ESP_PPQ,),
        is_simulated=True,
    ),
    Row(target="generic-per-tensor", peers=(ORT_PER_TENSOR,)),
    Row(target="generic-symmetric", peers=(ORT_SYMMETRIC,)),
)
