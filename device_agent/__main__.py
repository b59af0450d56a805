"""``python -m device_agent`` is ``edgewright-agent``: nothing is imported before Ctrl-C is understood."""

import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command and return its exit status; Ctrl-C while it is being loaded is no fault that wants a trace."""
    try:
        from device_agent.later import import_later  # noqa: PLC0415  see above

        import_later()
        from device_agent.cli import main as command  # noqa: PLC0415  see above
    except KeyboardInterrupt:
        return _INTERRUPTED
    return command()


if __name__ == "__main__":
    sys.exit(main())
