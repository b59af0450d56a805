"""``python -m device_agent`` is ``edgewright-agent``."""

import sys

from device_agent.cli import main

sys.exit(main())
