"""`run_batch`: leave what is done, run the rest, note each result as it comes."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.batch.executor import DEFAULT, Stage, open_executor, require_executor
from host_tools.batch.inputs import InputDigests
from host_tools.batch.manifest import NAME, encode, is_complete, read_manifest
from host_tools.batch.page import render_batch
from host_tools.batch.progress import BatchProgress, Silent
from host_tools.batch.table import Entry, State, encode_csv
from host_tools.errors import InputError
from host_tools.made_with import made_with
from host_tools.output_folder import OutputFolder, open_output_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.batch.job import Job, JobResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch left behind.

    Attributes:
        entries: Every job of the list that there is a result of, in the list's order.
        manifest: Path of ``batch.json``.
        page: Path of ``batch.html``.
        table: Path of ``batch.csv``.
    """

    entries: tuple[Entry, ...]
    manifest: Path
    page: Path
    table: Path


def run_batch(
    jobs: Sequence[Job],
    *,
    out: str | Path,
    executor: str = DEFAULT,
    chosen: Sequence[str] = (),
    redo: bool = False,
    progress: BatchProgress | None = None,
) -> Batch:
    """Run the jobs that are not done already.

    A job is done when its result is complete and the digest of its inputs is what it was (`InputDigests`).

    Args:
        jobs: As `expand` gave them.
        out: Folder of the batch; the parent of every job's folder.
        executor: See `open_executor`.
        chosen: Patterns of the names of jobs to look at, as a shell has them; all when empty.
        redo: Whether to run jobs that are done already, too.
        progress: Told how far it is.

    Raises:
        InputError: Nothing is chosen, the executor is none, or ``out`` holds a ``batch.json`` of something else.
        TransferError: The Dask scheduler cannot be reached or is lost.
        OutputError: ``out`` cannot be written, is not shared with Dask's workers, or another run holds it.
    """
    told = progress or Silent()
    require_executor(executor)
    asked = _chosen(jobs, chosen)
    with open_output_folder(Path(out)) as folder:
        earlier = read_manifest(folder.path)
        inputs = _digests(asked, told)
        book = _Book(folder, jobs, asked, earlier)
        todo = []
        for job in asked:
            known = earlier.get(job.name)
            if redo or known is None or not _is_done(job, inputs[job.name], known):
                todo.append(job)
            else:
                book.note(known, "kept")
        told.begin(len(asked), kept=len(asked) - len(todo))
        if todo:
            with open_executor(executor, jobs=todo) as running:
                book.side_by_side = running.description
                book.write()
                with closing(running.run(todo)) as happenings:
                    for one in happenings:
                        if isinstance(one, Stage):
                            told.stage(one.job, one.title)
                            continue
                        result = dataclasses.replace(one, inputs=inputs[one.job])
                        book.note(result, "done" if result.failure is None else "failed")
                        book.write()
                        told.finish(result)
        return book.write()


def _chosen(jobs: Sequence[Job], patterns: Sequence[str]) -> list[Job]:
    for pattern in patterns:
        if not any(fnmatchcase(job.name, pattern) for job in jobs):
            names = ", ".join(job.name for job in jobs[:8]) + (", …" if len(jobs) > 8 else "")
            raise InputError(
                f"--jobs: no job is named {pattern!r}; there are: {names}.",
                hint="How many run side by side is said by --executor processes:N.",
            )
    return [job for job in jobs if not patterns or any(fnmatchcase(job.name, one) for one in patterns)]


def _digests(jobs: Sequence[Job], progress: BatchProgress) -> Mapping[str, str | None]:
    digests, inputs = InputDigests(made_with()), {}
    for job in jobs:
        progress.look(job.name)
        inputs[job.name] = digests.of(job)
    return inputs


def _is_done(job: Job, inputs: str | None, earlier: JobResult) -> bool:
    return inputs is not None and earlier.inputs == inputs and is_complete(earlier, Path(job.out))


class _Book:
    """The results so far, and their three files."""

    def __init__(
        self,
        folder: OutputFolder,
        jobs: Sequence[Job],
        asked: Sequence[Job],
        earlier: Mapping[str, JobResult],
    ) -> None:
        self.side_by_side = ""
        self._folder = folder
        self._tools = made_with()
        self._order = [job.name for job in jobs]
        others = {job.name for job in jobs} - {job.name for job in asked}
        self._entries = {
            name: Entry(result=earlier[name], state="not chosen") for name in others if name in earlier
        }

    def note(self, result: JobResult, state: State) -> None:
        """Add a result, or replace the one that was there."""
        self._entries[result.job] = Entry(result=result, state=state)

    def write(self) -> Batch:
        """Write all three, the manifest first: from it the next run goes on.

        Raises:
            OutputError: They cannot be written.
        """
        entries = tuple(self._entries[name] for name in self._order if name in self._entries)
        manifest = self._folder.write(NAME, encode((entry.result for entry in entries), tools=self._tools))
        page = render_batch(entries, side_by_side=self.side_by_side, tools=self._tools)
        return Batch(
            entries=entries,
            manifest=manifest,
            page=self._folder.write("batch.html", page.encode()),
            table=self._folder.write("batch.csv", encode_csv(entries)),
        )
