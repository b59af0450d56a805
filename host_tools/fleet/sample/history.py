"""Whether every device has said enough of what it runs for a gate to hold a release against it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.errors import TransferError
from host_tools.errors import StoreError
from host_tools.review.analysis.measures import MEASURES
from host_tools.review.remote_telemetry import RemoteTelemetry
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY_SECONDS: Final = 86_400.0
"""Gates look back so far."""


def has_history(review: str, running: Mapping[str, str]) -> bool:
    """Return whether there is a median latency of every device with what it runs; a page that does not answer yet has none.

    Args:
        review: Address of the page of telemetry.
        running: Digest by device.
    """
    now = time.time()
    selection = Selection(start=now - _DAY_SECONDS, end=now + 60.0, devices=tuple(running))
    telemetry = RemoteTelemetry(review)
    try:
        table = telemetry.windows(selection, level=Level.HOUR, by=("device", "artifact"))
    except (StoreError, TransferError):
        return False
    finally:
        telemetry.close()
    finite = np.isfinite(MEASURES["latency_p50_seconds"].values(table))
    keys = zip(table.key("device").tolist(), table.key("artifact").tolist(), finite.tolist(), strict=True)
    return running.items() <= {(device, artifact) for device, artifact, known in keys if known}
