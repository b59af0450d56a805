"""``python -m device_agent`` is ``edgewright-agent``: nothing is imported before signals are understood."""

import sys

from device_agent.ending import end_at_once, end_silently
from device_agent.standard_streams import open_closed_streams


def main() -> int:
    """Run the command and return its exit status."""
    end_at_once("edgewright-agent")
    open_closed_streams()
    from device_agent.later import import_later  # noqa: PLC0415  see above

    import_later()
    from device_agent.cli import main as command  # noqa: PLC0415  see above

    try:
        return command()
    finally:
        end_silently()


if __name__ == "__main__":
    sys.exit(main())
