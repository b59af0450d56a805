"""``python -m device_agent.update PID``: the child process of one step; see `child`."""

import sys

from device_agent.later import import_later

import_later()

from device_agent.update.child import main  # noqa: E402  what can wait comes before what imports it

if __name__ == "__main__":
    sys.exit(main())
