"""What a Dask worker runs: a job in a process of its own, as everywhere, and the look at what the worker can reach."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import get_worker

from device_agent import __version__
from device_agent.contract.fields import Fields
from host_tools.batch.executor import threads_of_a_job
from host_tools.batch.job_document import read_job, result_document
from host_tools.batch.supervisor import supervise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SERVING = ("running", "paused")


def run_document(document: Mapping[str, object], topic: str) -> Mapping[str, object]:
    """Run a job and return its result, both as `job_document` has them.

    Args:
        document: The job.
        topic: Where its stages are told: the scheduler hands them to whoever subscribed.

    Raises:
        NotWantedError: The submitter cancelled the job, or it or the scheduler is gone.
    """
    worker, job = get_worker(), read_job(Fields(document, where="job"))
    key = worker.get_current_task()
    if job.threads is None:
        job = dataclasses.replace(job, threads=threads_of_a_job(worker.state.nthreads))

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        is_serving = (
            worker.status.name in _SERVING
        )  # it stops when the scheduler is lost, and would wait for its tasks
        return is_serving and task is not None and task.state != "cancelled"

    result = supervise(
        job,
        tell=lambda title: worker.log_event(topic, {"job": job.name, "title": title}),
        is_wanted=is_wanted,
    )
    return result_document(result)


def look(token: str, content: str, paths: Sequence[str]) -> Mapping[str, object]:
    """Say what this worker is and what it can reach.

    Args:
        token: A file in the folder of results.
        content: What the submitter wrote into it.
        paths: Files and folders of the jobs that the submitter can reach.

    Returns:
        ``host``, ``version`` of Edgewright, ``refusal`` (why it cannot write results for the submitter, or empty), ``missing`` paths.
    """
    return {
        "host": socket.gethostname(),
        "version": __version__,
        "refusal": _refusal(Path(token), content),
        "missing": [path for path in paths if not Path(path).exists()],
    }


def _refusal(token: Path, content: str) -> str:
    probe = token.with_name(f"{token.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        if token.read_text(encoding="utf-8") != content:
            return f"{token.parent} is another folder there"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return f"{token.parent}: {error.strerror or error}"
    return ""
