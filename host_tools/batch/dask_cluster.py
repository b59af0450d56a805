"""A Dask cluster, seen from the machine that submits: a scheduler somewhere, or a cluster in this process to try it with.

Workers read models and data, and write results, under the same paths as the submitter: all of them in a shared folder.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster

from device_agent import __version__
from device_agent.contract.errors import TransferError
from device_agent.contract.fields import Fields
from host_tools.batch.dask_worker import look
from host_tools.batch.executor import Stage
from host_tools.batch.job import Failure, JobResult
from host_tools.batch.job_document import job_document, read_result
from host_tools.errors import InputError, OutputError
from host_tools.output_folder import OutputFolder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from distributed import Future

    from host_tools.batch.job import Job

_CONNECT_SECONDS = 10.0
_OWN_ADDRESS = "127.0.0.1:0"
_SHOWN = 3
"""So many workers, or paths, of a longer list stand in a message."""


class DaskCluster:
    """See `Executor`."""

    def __init__(self, client: Client, description: str) -> None:
        self._client = client
        self.description = description

    def run(self, jobs: Sequence[Job]) -> Generator[Stage | JobResult, None, None]:
        """See `Executor.run`."""
        happened: SimpleQueue[Stage | tuple[Job, Future]] = SimpleQueue()
        topic = f"edgewright-batch-{uuid.uuid4()}"
        self._client.subscribe_topic(topic, lambda event: happened.put(_stage(event)))
        futures: list[Future] = []
        try:
            for job in jobs:
                # A lambda goes by value: the scheduler, which unpacks it too, need not have Edgewright.
                future = self._client.submit(
                    lambda *told: import_module("host_tools.batch.dask_worker").run_document(*told),
                    job_document(job),
                    topic,
                    key=f"{topic}-{job.name}",
                    pure=False,
                )
                futures.append(future)
                future.add_done_callback(lambda done, job=job: happened.put((job, done)))
            left = len(jobs)
            while left:
                one = happened.get()
                if isinstance(one, Stage):
                    yield one
                else:
                    left -= 1
                    yield self._result(*one)
        finally:
            self._client.cancel(futures, force=True)
            self._client.unsubscribe_topic(topic)

    def _result(self, job: Job, future: Future) -> JobResult:
        if future.status == "finished":
            return read_result(Fields(future.result(), where=f"result of {job.name}"))
        if future.status == "error":
            error = future.exception()
            failure = Failure(
                code="crashed",
                message=f"Its Dask worker failed: {type(error).__name__}: {error}",
                hint="The worker's own log says more.",
            )
            return JobResult(job=job.name, seconds=0.0, host="", failure=failure)
        raise TransferError(
            f"{self.description}: the scheduler is lost.",
            hint="Results that came are kept: start it again and give the same command.",
        )


def _stage(event: tuple[float, Mapping[str, str]]) -> Stage:
    _, told = event
    return Stage(job=told["job"], title=told["title"])


@contextmanager
def open_cluster(address: str | None, *, jobs: Sequence[Job], processes: int = 1) -> Iterator[DaskCluster]:
    """Connect to a scheduler, or start a cluster in this process.

    Args:
        address: ``tcp://HOST:PORT``; None starts a cluster.
        jobs: What it will run.
        processes: How many jobs at a time the started cluster runs.

    Raises:
        TransferError: The scheduler does not answer within ten seconds, or no worker is there by then.
        InputError: A worker has no Edgewright, or another version.
        OutputError: A worker cannot reach the folder of results.
    """
    for name in ("distributed", "distributed.client"):  # it logs, with tracebacks, what we tell as errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if address is None:
            # Each job has a process of its own anyway, so the worker needs none. Its pages stay on this machine: the default is all networks.
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=1,
                    threads_per_worker=processes,
                    processes=False,
                    memory_limit=0,
                    dashboard_address=_OWN_ADDRESS,
                    worker_dashboard_address=_OWN_ADDRESS,
                )
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
            yield DaskCluster(client, f"Dask on this machine, {processes} at a time")
            return
        client = stack.enter_context(_connected(address))
        _require_shared(client, jobs)
        threads = sum(client.nthreads().values())
        yield DaskCluster(client, f"Dask at {address}, {threads} at a time")


def _connected(address: str) -> Client:
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # its TimeoutError is an OSError
        raise TransferError(
            f"--executor: no Dask scheduler answers at {address} within {_CONNECT_SECONDS:g} s.",
            hint="Start one with `dask scheduler`, and workers with `dask worker`.",
        ) from error
    try:
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except TimeoutError as error:
        client.close()
        raise TransferError(
            f"--executor: the Dask scheduler at {address} has no worker.",
            hint=f"Start some: dask worker {address}",
        ) from error
    return client


def _require_shared(client: Client, jobs: Sequence[Job]) -> None:
    """Find out before the first job that every worker can do them."""
    folder = OutputFolder(Path(jobs[0].out).parent)
    content = str(uuid.uuid4())
    name = f".shared-{content}"
    token = folder.write(name, content.encode())
    try:
        found: dict[str, Any] = client.run(look, str(token), content, _paths(jobs), on_error="return")
    finally:
        folder.remove(name)
    for worker, answer in found.items():
        require_able(worker, answer)


def _paths(jobs: Sequence[Job]) -> list[str]:
    named = (
        path
        for job in jobs
        for path in (
            job.model,
            job.data,
            job.recipe,
            job.preprocess,
            job.evaluation,
            job.labels,
            job.heat,
            *job.targets,
        )
    )
    return [
        path
        for path in dict.fromkeys(filter(None, named))
        if Path(path).is_absolute() and Path(path).exists()
    ]


def require_able(worker: str, answer: Any) -> None:
    """Refuse a worker that cannot do the jobs.

    Args:
        worker: Its address.
        answer: What `look` gave there, or the exception that it ended with.

    Raises:
        InputError: It has no Edgewright, or another version, or cannot see the jobs' files.
        OutputError: It cannot write where the results belong.
    """
    if isinstance(answer, BaseException):
        raise InputError(
            f"--executor: the Dask worker at {worker} cannot run jobs: {type(answer).__name__}: {answer}.",
            hint="Install the same edgewright[host,dask] there.",
        ) from answer
    if answer["version"] != __version__:
        raise InputError(
            f"--executor: the Dask worker at {worker} ({answer['host']}) has edgewright {answer['version']}, here it is {__version__}.",
            hint="Install the same version everywhere.",
        )
    if answer["refusal"]:
        raise OutputError(
            f"--out: the Dask worker at {worker} ({answer['host']}) cannot write results: {answer['refusal']}.",
            hint="Choose an --out in a folder that all machines share under the same path.",
        )
    if answer["missing"]:
        shown = ", ".join(answer["missing"][:_SHOWN])
        raise InputError(
            f"--executor: the Dask worker at {worker} ({answer['host']}) cannot see {len(answer['missing'])} of the jobs' files: {shown}.",
            hint="Put models and data in a folder that all machines share under the same path.",
        )
