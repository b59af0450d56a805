"""`MemoryBudget`: how much resident memory a model adds while it is loaded and tested, held against what it may."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_ONE_AT_A_TIME: Final = threading.Lock()
"""Held while one model is loaded or tested: what two add at the same time could not be told apart."""
_LONGEST_WAIT_SECONDS: Final = 60.0
"""An engine that hangs while it loads must not keep the other models from running."""


class MemoryBudgetError(DeviceError):
    """A model takes more memory than it may."""

    code = "memory_budget"


class MemoryBudget:
    """What one model may add.

    Args:
        max_bytes: At most so much; 0: any, and nothing is measured.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._added_bytes = 0

    def begin(self) -> None:
        """Forget what was added before: the model is loaded again."""
        self._added_bytes = 0

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count what the body adds.

        Raises:
            MemoryBudgetError: With it, it is more than it may be.
        """
        held = _ONE_AT_A_TIME.acquire(timeout=_LONGEST_WAIT_SECONDS)
        try:
            before = resident_bytes() if self._max_bytes else 0
            yield
            if self._max_bytes:
                self._added_bytes += resident_bytes() - before
        finally:
            if held:
                _ONE_AT_A_TIME.release()
        if self._added_bytes > self._max_bytes > 0:
            raise MemoryBudgetError(
                f"engine.memory_max_bytes: loading and testing the model added {self._added_bytes} bytes of resident memory; "
                f"{self._max_bytes} are allowed.",
                hint="Raise the budget, or take a smaller model.",
            )


def resident_bytes() -> int:
    """Return the resident memory of this process.

    Source:
        proc(5): the second number of ``/proc/self/statm``, in pages.
    """
    descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 128).split()[1]) * _PAGE_BYTES
    finally:
        os.close(descriptor)
