"""`Analyses`: findings for the page. They take seconds, so they are made one at a time and kept for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from host_tools.review.serve import views

if TYPE_CHECKING:
    from host_tools.review.reports.report import Report
    from host_tools.review.serve.looked import Looked
    from host_tools.review.store.telemetry_store import TelemetryStore

_KEPT = 16
_KEEP_SECONDS = 120.0


class Analyses:
    """Reports by what was looked at; any number of threads may ask."""

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[Looked, tuple[float, Report]] = OrderedDict()

    def report(self, looked: Looked) -> Report:
        """Return what is found.

        Raises:
            InputError: As `views.findings`.
            StoreError: The store cannot answer.
        """
        with self._lock:
            known = self._kept.get(looked)
            if known is not None and time.monotonic() - known[0] < _KEEP_SECONDS:
                return known[1]
            report = views.findings(self._store, looked)
            self._kept[looked] = (time.monotonic(), report)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return report
