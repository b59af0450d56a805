"""``python -m benchmarks.models``."""

import sys

from benchmarks.models.command import main

sys.exit(main())
