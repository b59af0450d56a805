"""Names of the models of one device, as they stand in its configuration, in messages and in desired states."""

from __future__ import annotations

import re
from typing import Final

MAIN_MODEL: Final = "main"
"""The model of ``[artifact]``."""
MODEL_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
MAX_MODELS: Final = 16
"""Models of one agent, the main one included: each has a thread, and its messages a share of the spool."""
