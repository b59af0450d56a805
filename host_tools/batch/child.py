"""The process that runs one job: ``python -m host_tools.batch.child DESCRIPTOR``, started by `supervisor`.

The job comes as one line of JSON on standard input, which then stays open: its end means that nobody waits for the result any more,
because whoever did was interrupted or is dead. Stages and the result go, one JSON object a line, to the descriptor; standard output
and error are for whatever libraries print.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

from device_agent.contract.document import read_document, write_document
from device_agent.contract.fields import Fields
from host_tools.batch.conversion import GRACE_SECONDS, run_job
from host_tools.batch.job_document import read_job, result_document

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MESSAGE_BYTES = 1 << 26
_INTERRUPTED = 130


class _Stages:
    """A `host_tools.progress.Progress` that tells the supervisor of stages."""

    def __init__(self, messages: BinaryIO) -> None:
        self._messages = messages

    def stage(self, title: str, total: int | None) -> None:
        """See `Progress.stage`."""
        del total
        _send(self._messages, {"stage": title})

    def step(self, count: int = 1) -> None:
        """See `Progress.step`: steps are not told."""


def main() -> int:
    """Run the job that is told on standard input; return the exit status, 130 when nobody waits for it any more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - what the job starts must not keep the messages open
    try:
        with os.fdopen(descriptor, "wb") as messages:
            line = sys.stdin.buffer.readline()
            if not line.endswith(b"\n"):  # the supervisor died while it spoke
                return _INTERRUPTED
            job = read_job(Fields(read_document(line, where="job", max_bytes=MAX_MESSAGE_BYTES), where="job"))
            threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
            _send(messages, {"result": result_document(run_job(job, _Stages(messages)))})
    except (KeyboardInterrupt, BrokenPipeError):
        return _INTERRUPTED
    return 0


def _send(messages: BinaryIO, message: Mapping[str, object]) -> None:
    messages.write(write_document(message, where="message") + b"\n")
    messages.flush()


def _end_with_the_supervisor() -> None:
    """Wait for the end of standard input; then interrupt the job, and end the process if it does not listen."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # engines have threads of their own, and some take their time to end
