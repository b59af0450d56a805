"""``python -m benchmarks.fleet.protocol``."""

from __future__ import annotations

import sys

from benchmarks.fleet.protocol.command import main

if __name__ == "__main__":
    sys.exit(main())
