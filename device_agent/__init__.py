"""The device agent: verifies an artifact, runs it, and reports what it does. Never imports the host tools."""

from typing import Final

__version__: Final = "0.1.0"
"""The agent's own version, compared with `Requires.agent_min_version`; a test holds it equal to the distribution's."""
