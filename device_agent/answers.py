"""The result of one frame for whoever asked for it, over HTTP or MQTT 5: a `telemetry.result.Result` without its envelope."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import DeviceError
from device_agent.contract.telemetry.result import Raw, Summary, TopK
from device_agent.results import Outcome, described_outputs
from device_agent.sources.source import refusal_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.config import ResultsSection
    from device_agent.contract.manifest import PayloadTensor

_FORMS: Final = {TopK: "top_k", Raw: "raw", Summary: "summary"}


class Answers:
    """See `source.Describe`.

    Args:
        tensors: The payload's outputs.
        wanted: How outputs are described.
    """

    def __init__(self, tensors: Sequence[PayloadTensor], wanted: ResultsSection) -> None:
        self._tensors = tensors
        self._wanted = wanted

    def __call__(self, frame: str, duration_ns: int, outputs: Sequence[NDArray[np.generic]]) -> bytes:
        """Return the answer; a result that cannot be described is one that says why."""
        held = [bytes(output) if isinstance(output, memoryview) else output for output in outputs]
        outcome = Outcome(frame, duration_ns * 1e-9, held)
        try:
            described = described_outputs(
                outcome, self._tensors, top_k=self._wanted.top_k, raw_max_values=self._wanted.raw_max_values
            )
        except DeviceError as error:
            return refusal_bytes(str(error))
        document = {
            "frame": frame,
            "latency_seconds": outcome.latency_seconds,
            "outputs": [{"form": _FORMS[type(one)], **dataclasses.asdict(one)} for one in described],
        }
        return json.dumps(document).encode()
