"""``batch.json``: the result of every job so far. Written whole after each; from it the next run knows what is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of_file
from device_agent.contract.document import read_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from host_tools.batch.job_document import read_result, result_document
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from host_tools.batch.job import JobResult

NAME = "batch.json"
SCHEMA_VERSION = "1.0"
_MAX_BYTES = 1 << 28
_MOST_JOBS = 1 << 16


def encode(results: Iterable[JobResult], *, tools: Mapping[str, str]) -> bytes:
    """Return results, and the versions of ``tools`` (`made_with`), as UTF-8 JSON with a final newline."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "made_with": dict(tools),
        "jobs": [result_document(result) for result in results],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode(data: bytes, *, where: str) -> tuple[JobResult, ...]:
    """Read results.

    Raises:
        InputError: They are no results that this release reads; the message names ``where`` and key.
    """
    try:
        fields = Fields(read_document(data, where=where, max_bytes=_MAX_BYTES), where=where)
        fields.schema_version(SCHEMA_VERSION)
        return tuple(read_result(one) for one in fields.children("jobs", least=0, most=_MOST_JOBS))
    except ContractError as error:
        hint = error.hint or "Choose another --out, or remove the file to do everything again."
        raise InputError(str(error.args[0]), hint=hint) from error


def read_manifest(folder: Path) -> Mapping[str, JobResult]:
    """Return the results that an earlier run left, by job; none when there was none.

    Raises:
        InputError: There is such a file, and it cannot be read or is something else.
    """
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return {result.job: result for result in decode(data, where=str(path))}


def is_complete(result: JobResult, folder: Path) -> bool:
    """Say whether everything that the job wrote to its folder is still there, byte for byte."""
    if result.failure is not None or not result.files:
        return False
    if any(name.startswith("/") or ".." in name.split("/") for name, _ in result.files):
        return False  # no batch writes such names
    try:
        return all(digest_of_file(folder / name) == digest for name, digest in result.files)
    except OSError:
        return False
