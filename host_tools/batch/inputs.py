"""The digest of everything that a job's result depends on: while it stays, a complete result need not be made again."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of, digest_of_file
from device_agent.contract.errors import EdgewrightError
from host_tools.batch.expansion import FUNCTION
from host_tools.model.source import read_source
from host_tools.observe.preparation_file import find_preparation
from host_tools.recipe_file import encode as encode_recipe
from host_tools.recipe_file import read_recipe
from host_tools.target_profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.batch.job import Job


class InputDigests:
    """Digests for one run of a batch: data that several models share are read once. ``tools`` are versions (`made_with`)."""

    def __init__(self, tools: Mapping[str, str]) -> None:
        self._paths: dict[str, str] = {}
        self._tools = dict(tools)

    def of(self, job: Job) -> str | None:
        """Return the digest of model, data, recipe, profiles, settings and tools; None when it cannot be told.

        It cannot where data come from ``module:function`` (code may return something else every time), and where something cannot
        be read: then the job is run, and says what is wrong. Of a metric, the file of its module counts. The number of threads does
        not: it changes no result but latency.
        """
        try:
            return digest_of(json.dumps(self._told(job), sort_keys=True).encode())
        except (EdgewrightError, OSError, _UnknowableError):
            return None

    def _told(self, job: Job) -> dict[str, object]:
        return {
            "name": job.name,
            "version": job.version,
            "model": read_source(Path(job.model), shapes=dict(job.shapes)).digest,
            "data": self._data(job.data),
            "limit": job.limit,
            "evaluation": None if job.evaluation is None else self._data(job.evaluation),
            "preprocess": [
                repr(find_preparation(job.preprocess, data))
                for data in (job.data, job.evaluation)
                if data is not None
            ],
            "labels": None if job.labels is None else self._data(job.labels),
            "metric": None if job.metric is None else [job.metric, self._module(job)],
            "method": job.method,
            "recipe": None if job.recipe is None else encode_recipe(read_recipe(Path(job.recipe))).decode(),
            "profiles": [(profile.id, profile.digest) for profile in load_profiles(job.targets)],
            "budget": dataclasses.asdict(job.budget),
            "goals": job.goals,
            "budget_minutes": job.budget_minutes,
            "heat": None if job.heat is None else self._data(job.heat),
            "latency": job.latency,
            "diagnosis": job.diagnosis,
            "made_with": self._tools,
        }

    def _data(self, spec: str) -> str:
        if FUNCTION.match(spec):
            raise _UnknowableError
        if spec not in self._paths:
            self._paths[spec] = _digest_of_path(Path(spec))
        return self._paths[spec]

    def _module(self, job: Job) -> str:
        module = (job.metric or "").partition(":")[0].split(".")
        for folder in (job.code_folder, *sys.path):
            for path in (Path(folder, *module).with_suffix(".py"), Path(folder, *module, "__init__.py")):
                if path.is_file():
                    return digest_of_file(path)
        raise _UnknowableError


class _UnknowableError(Exception):
    """Only running the job would tell."""


def _digest_of_path(path: Path) -> str:
    """Return the digest of a file, or of names and contents of a folder's files; hidden ones are no data.

    Raises:
        OSError: Something cannot be read.
    """
    if not path.is_dir():
        return digest_of_file(path)
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    relative = ((file, file.relative_to(path)) for file in files)
    told = [
        f"{name.as_posix()}\0{digest_of_file(file)}"
        for file, name in relative
        if not any(part.startswith(".") for part in name.parts)
    ]
    return digest_of("\n".join(told).encode("utf-8", "surrogateescape"))
