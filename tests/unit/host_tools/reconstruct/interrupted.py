"""A reconstruction that is killed by a signal of its own: ``python -m tests.unit.host_tools.reconstruct.interrupted FOLDER SIGNAL STEPS``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from host_tools.progress import Silent
from host_tools.reconstruct import reconstruct
from host_tools.reconstruct.checkpoint import Checkpoint, key_of
from tests.unit.host_tools.reconstruct.hard_networks import changed, hard

FOUR_BITS = changed(weights={"bits": 4})


class Deadly(Silent):
    """Sends a signal to its own process when so many operators are done."""

    def __init__(self, number: int, steps: int) -> None:
        self._number, self._left = number, steps

    def step(self, count: int = 1) -> None:
        self._left -= count
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def main(folder: str, number: str, steps: str) -> None:
    network = hard(Path(folder), profile=FOUR_BITS)
    reconstruct(
        network.model,
        network.plan,
        network.profile,
        network.data,
        threads=1,
        progress=Deadly(int(number), int(steps)),
        checkpoint=Checkpoint(Path(folder) / "cache", key_of(network.plan, network.data)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
