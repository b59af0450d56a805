"""From JOBS.toml to jobs: patterns become files, paths become absolute, and what is named must be there."""

from __future__ import annotations

import re
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.batch.job import GOALS, Job
from host_tools.batch.jobs_file import MOST_MODELS, JobsFileError
from host_tools.errors import InputError
from host_tools.pack.artifact import checked_name
from host_tools.pack.heat_file import read_heat
from host_tools.recipe_file import read_recipe
from host_tools.target_profiles import load_profiles
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.batch.jobs_file import JobsFile, ModelEntry

FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
RESERVED = ("batch.json", "batch.html", "batch.csv")
"""Files of the batch, in the folder where each job has one named after its model."""
_STEM = "{stem}"


def expand(
    file: JobsFile, *, folder: Path, out: Path, threads: int | None = None, cache: str | None = None
) -> tuple[Job, ...]:
    """Return the jobs of a file, in its order; the files of a pattern in the order of their names.

    Args:
        file: What JOBS.toml says.
        folder: Where its relative paths start; modules of ``module:function`` lie here too.
        out: Folder of the batch.
        threads: Threads of one inference in every job.
        cache: Folder of cached statistics for every job.

    Raises:
        JobsFileError: A pattern meets no file; a file, target or recipe is not there or wrong; or two jobs bear one name.
            The message names file and key.
    """
    folder, out = folder.absolute(), out.absolute()
    jobs: dict[str, tuple[Job, str]] = {}
    for entry in file.models:
        at = f"{file.where}: {entry.key}"
        for model in _models(entry, folder, at):
            job = _job(entry, model, folder=folder, out=out, at=at, threads=threads, cache=cache)
            key = job.name.casefold()  # some file systems do not tell their cases apart
            if key in jobs:
                raise JobsFileError(
                    f"{at}: the name {job.name!r} is already that of {jobs[key][0].model} ({jobs[key][1]}).",
                    hint='Each job has a folder of its name: give one of them a name = "…".',
                )
            jobs[key] = (job, entry.key)
            if len(jobs) > MOST_MODELS:
                raise JobsFileError(f"{at}.path: more than {MOST_MODELS} models in one batch.")
    return tuple(job for job, _ in jobs.values())


def _models(entry: ModelEntry, folder: Path, at: str) -> Iterator[Path]:
    pattern = str(folder / entry.path)
    if not any(sign in entry.path for sign in "*?["):
        yield _present(pattern, f"{at}.path")
        return
    found = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = [Path(path) for path in found if Path(path).is_file()]
    if not files:
        raise JobsFileError(
            f"{at}.path: no file is like {pattern}.", hint="Paths are relative to the folder of JOBS.toml."
        )
    if entry.name is not None and len(files) > 1:
        raise JobsFileError(
            f"{at}.name: one name for {len(files)} files.", hint="Leave it out: each is named after its file."
        )
    yield from files


def _job(
    entry: ModelEntry,
    model: Path,
    *,
    folder: Path,
    out: Path,
    at: str,
    threads: int | None,
    cache: str | None,
) -> Job:
    settings = entry.settings
    name = _name(entry, model, at)

    def file(key: str, text: str | None) -> str | None:
        return (
            None
            if text is None
            else str(_present(str(folder / text.replace(_STEM, model.stem)), f"{at}.{key}"))
        )

    def data(key: str, text: str | None) -> str | None:
        return text if text is not None and FUNCTION.match(text) else file(key, text)

    calibration = data("data", settings.data)
    if calibration is None or settings.targets is None:
        raise JobsFileError(f"{at}: data and targets are needed.")
    job = Job(
        name=name,
        model=str(model.absolute()),
        data=calibration,
        targets=tuple(
            str((folder / one).absolute()) if one.endswith(".toml") else one for one in settings.targets
        ),
        out=str(out / name),
        code_folder=str(folder),
        version=settings.version or "0.1.0",
        method=settings.method,
        recipe=file("recipe", settings.recipe),
        preprocess=file("preprocess", settings.preprocess),
        shapes=tuple(sorted(settings.shapes.items())),
        limit=settings.limit,
        evaluation=data("eval", settings.eval),
        labels=file("labels", settings.labels),
        metric=settings.metric,
        budget=Budget(**settings.budget),
        goals=tuple(name for name in GOALS if name in settings.budget),
        budget_minutes=settings.budget_minutes,
        heat=file("heat", settings.heat),
        latency=settings.latency is not False,
        diagnosis=settings.diagnose is not False,
        threads=threads,
        cache=cache,
    )
    _require_sound(job, at)
    return job


def _name(entry: ModelEntry, model: Path, at: str) -> str:
    """Return the name given, else the file's stem as `host_tools.model.load` would make it one."""
    name = entry.name or re.sub(r"[^A-Za-z0-9_.-]", "_", model.stem)
    try:
        checked_name(name)
    except InputError as error:
        raise JobsFileError(
            f"{at}.path: {model.name} makes no name.", hint='Give it a name = "…".'
        ) from error
    if name.casefold() in RESERVED:
        raise JobsFileError(f"{at}.name: {name} is the name of a file of the batch.", hint="Choose another.")
    return name


def _present(path: str, at: str) -> Path:
    found = Path(path)
    try:
        is_there = found.exists()
    except OSError:  # a name longer than the file system takes
        is_there = False
    if not is_there:
        raise JobsFileError(
            f"{at}: {path}: no such file or folder.", hint="Paths are relative to the folder of JOBS.toml."
        )
    return found.absolute()


def _require_sound(job: Job, at: str) -> None:
    """Refuse at once what can be seen at once: a batch is to stop at a slip of the pen before the first hour of work, not after it."""
    try:
        load_profiles(job.targets)
    except InputError as error:
        raise JobsFileError(f"{at}.targets: {error.args[0]}", hint=error.hint) from error
    if job.recipe is not None:
        try:
            read_recipe(Path(job.recipe))
        except InputError as error:
            raise JobsFileError(f"{at}.recipe: {error.args[0]}", hint=error.hint) from error
    if job.heat is not None:
        try:
            read_heat(Path(job.heat))
        except InputError as error:
            raise JobsFileError(f"{at}.heat: {error.args[0]}", hint=error.hint) from error
    if job.metric is not None and not FUNCTION.match(job.metric):
        raise JobsFileError(f"{at}.metric: expected module:function, got {job.metric!r}.")
