"""``python -m host_tools`` is ``edgewright``."""

import sys

from host_tools.cli.main import main

sys.exit(main())
