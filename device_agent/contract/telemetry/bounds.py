"""How much a message may have of anything."""

from __future__ import annotations

MAX_READINGS = 256
MAX_BUCKETS = 4096
MAX_OUTPUTS = 256
MAX_INPUTS = 64
MAX_MODELS = 64
MAX_TARGETS = 64
MAX_VALUES = 65536
"""Most values of one output in a `Result`; a larger output is sent as `TopK` or `Summary`."""
COUNT_MAX = (1 << 53) - 1
"""Largest integer that every JSON reader keeps exactly."""
NUMBER_MAX = 1.7976931348623157e308
