"""``python -m host_tools`` is ``edgewright``: nothing is imported before signals are understood."""

import sys

from device_agent.ending import end_at_once, end_silently


def main() -> int:
    """Run the command and return its exit status."""
    end_at_once("edgewright")
    from host_tools.cli.main import main as command  # noqa: PLC0415  see above

    try:
        return command()
    finally:
        end_silently()


if __name__ == "__main__":
    sys.exit(main())
