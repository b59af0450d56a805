"""One job in a process of its own, and what became of it: a result, or how the process ended without one.

Each job has a process, on every executor: what one of them does to its memory, or a kernel that kills it for its size, is no loss to
the others, and it can be ended at any time.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from host_tools.batch.child import MAX_MESSAGE_BYTES
from host_tools.batch.conversion import GRACE_SECONDS
from host_tools.batch.job import Failure, JobResult
from host_tools.batch.job_document import job_document, read_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from host_tools.batch.job import Job

LOG_NAME = "job.log"
_POLL_SECONDS = 0.2
_LOG_TAIL = 300
"""Characters of the log that a message quotes."""


class NotWantedError(Exception):
    """Nobody waits for the job any more; its process has ended."""


def supervise(job: Job, *, tell: Callable[[str], None], is_wanted: Callable[[], bool]) -> JobResult:
    """Run a job in a process of its own and wait for it.

    Args:
        job: What to run.
        tell: Called with the title of each stage.
        is_wanted: Asked several times a second; once it says no, the process is ended.

    Raises:
        NotWantedError: ``is_wanted`` said no.
    """
    start = time.monotonic()
    folder = Path(job.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG_NAME).open("wb") as log:
            result, status = _run(job, log, tell, is_wanted)
    except OSError as error:
        failure = Failure(code="output", message=f"{error.filename or folder}: {error.strerror or error}.")
    except ContractError as error:
        failure = Failure(
            code="internal", message=str(error.args[0]), hint="Its process said what no job says; tell us."
        )
    else:
        if result is not None:
            return result
        failure = _crash(status, folder / LOG_NAME)
    return JobResult(
        job=job.name, seconds=time.monotonic() - start, host=socket.gethostname(), failure=failure
    )


def _run(
    job: Job, log: BinaryIO, tell: Callable[[str], None], is_wanted: Callable[[], bool]
) -> tuple[JobResult | None, int]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as messages:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "host_tools.batch.child", str(writing)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C in a terminal is for us; we tell the job
                env=_environment(),
            )
        finally:
            os.close(writing)
        with process:
            try:
                _tell_job(process, job)
                result = None
                for message in _messages(messages, is_wanted):
                    if message.has("result"):
                        result = read_result(message.child("result"))
                    else:
                        tell(message.text("stage"))
                return result, process.wait()
            finally:
                _end(process)


def _environment() -> dict[str, str]:
    """Return this environment, in which the child finds the packages that we were found in."""
    ours = str(Path(__file__).parents[2])
    paths = [ours, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _tell_job(process: subprocess.Popen[bytes], job: Job) -> None:
    if process.stdin is None:
        raise TypeError("the child has no standard input")
    with suppress(BrokenPipeError):  # it is dead already; its exit status says more
        process.stdin.write(write_document(job_document(job), where="job") + b"\n")
        process.stdin.flush()


def _messages(stream: BinaryIO, is_wanted: Callable[[], bool]) -> Iterator[Fields]:
    """Give each message as it comes, to the end of the stream.

    Raises:
        NotWantedError: ``is_wanted`` said no.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        waiting = b""
        while True:
            if not is_wanted():
                raise NotWantedError
            if not selector.select(_POLL_SECONDS):
                continue
            data = stream.read(1 << 16)
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                yield Fields(
                    read_document(line, where="message", max_bytes=MAX_MESSAGE_BYTES), where="message"
                )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs: by the end of its standard input first, so that it keeps its checkpoint."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _crash(status: int, log: Path) -> Failure:
    hint = f"See {log}."
    if status == -signal.SIGKILL:
        how = "was killed by SIGKILL: most often there was not enough memory"
        hint = "Run fewer jobs side by side (--executor processes:1), or give it a larger machine."
    elif status < 0:
        how = f"was ended by {signal.Signals(-status).name}"
    else:
        how = f"ended with status {status} and without a result"
    tail = _tail(log)
    return Failure(code="crashed", message=f"Its process {how}{f' ({tail})' if tail else ''}.", hint=hint)


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="backslashreplace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:_LOG_TAIL] for line in reversed(lines) if line.strip()), "")
