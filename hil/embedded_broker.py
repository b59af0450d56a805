"""``python -m hil.embedded_broker PORT``: the broker of the package `iotcore` as a process, so that it can be killed as a real one."""

import sys
import threading

from iotcore import Broker


def main() -> None:
    """Serve until the process is ended."""
    with Broker(port=int(sys.argv[1]), listen="127.0.0.1"):
        threading.Event().wait()


if __name__ == "__main__":
    main()
