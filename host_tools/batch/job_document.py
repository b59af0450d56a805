"""`Job` and `JobResult` as JSON objects and back: what goes to another process, and what `batch.json` keeps."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, get_args

from host_tools.batch.job import Failure, Job, JobResult, QualityResult, TargetResult, TargetVerdict
from host_tools.recipe import METHODS
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.fields import Fields

_VERDICTS: tuple[TargetVerdict, ...] = get_args(TargetVerdict)
_LONGEST = 1 << 16
_MOST = 1 << 16
_COUNT_MAX = (1 << 53) - 1
_LARGEST = sys.float_info.max


def job_document(job: Job) -> Mapping[str, object]:
    """Return a job as a JSON object."""
    return dataclasses.asdict(job)


def read_job(fields: Fields) -> Job:
    """Read what `job_document` gave.

    Raises:
        ContractError: A field is missing, of the wrong type or out of its range.
    """
    budget = fields.child("budget")
    return Job(
        name=fields.text("name"),
        model=_text(fields, "model"),
        data=_text(fields, "data"),
        targets=fields.texts("targets", least=1, most=_MOST),
        out=_text(fields, "out"),
        code_folder=_text(fields, "code_folder"),
        version=fields.text("version"),
        method=fields.choice("method", METHODS) if fields.has("method") else None,
        recipe=_optional_text(fields, "recipe"),
        preprocess=_optional_text(fields, "preprocess"),
        shapes=tuple(_shape(fields, entry) for entry in fields.array("shapes", 0, _MOST)),
        limit=_optional_count(fields, "limit"),
        evaluation=_optional_text(fields, "evaluation"),
        labels=_optional_text(fields, "labels"),
        metric=_optional_text(fields, "metric"),
        budget=Budget(**{name: budget.number(name, low=-_LARGEST, high=_LARGEST) for name in budget.names}),
        goals=fields.texts("goals", least=0, most=_MOST),
        budget_minutes=_optional_number(fields, "budget_minutes"),
        heat=_optional_text(fields, "heat"),
        latency=fields.boolean("latency"),
        diagnosis=fields.boolean("diagnosis"),
        threads=_optional_count(fields, "threads"),
        cache=_optional_text(fields, "cache"),
    )


def result_document(result: JobResult) -> Mapping[str, object]:
    """Return a result as a JSON object."""
    return {**dataclasses.asdict(result), "files": dict(result.files)}


def read_result(fields: Fields) -> JobResult:
    """Read what `result_document` gave.

    Raises:
        ContractError: A field is missing, of the wrong type or out of its range.
    """
    failure = fields.child("failure") if fields.has("failure") else None
    return JobResult(
        job=fields.text("job"),
        seconds=fields.number("seconds", low=0.0, high=_LARGEST),
        host=fields.text("host", empty=True),
        targets=tuple(_target(one) for one in fields.children("targets", least=0, most=_MOST)),
        files=tuple(fields.text_map("files", most=_MOST).items()),
        failure=None
        if failure is None
        else Failure(
            code=failure.text("code"),
            message=_text(failure, "message"),
            hint=failure.text("hint", empty=True, longest=_LONGEST),
        ),
        inputs=_optional_text(fields, "inputs"),
    )


def _target(fields: Fields) -> TargetResult:
    return TargetResult(
        target=fields.text("target"),
        verdict=fields.choice("verdict", _VERDICTS),
        reasons=tuple(map(str, fields.array("reasons", 0, _MOST))),
        quality=tuple(
            QualityResult(
                metric=one.text("metric"),
                float_value=_optional_number(one, "float_value"),
                payload_value=_optional_number(one, "payload_value"),
            )
            for one in fields.children("quality", least=0, most=_MOST)
        ),
        same_top_class=_optional_number(fields, "same_top_class"),
        sqnr_db=_optional_number(fields, "sqnr_db"),
        is_exact=fields.boolean("is_exact"),
        latency_seconds=_optional_number(fields, "latency_seconds"),
        payload_bytes=_optional_count(fields, "payload_bytes"),
        float_bytes=_optional_count(fields, "float_bytes"),
        is_stand_in=fields.boolean("is_stand_in"),
        artifact=_optional_text(fields, "artifact"),
    )


def _text(fields: Fields, key: str) -> str:
    return fields.text(key, longest=_LONGEST)


def _optional_text(fields: Fields, key: str) -> str | None:
    return _text(fields, key) if fields.has(key) else None


def _optional_count(fields: Fields, key: str) -> int | None:
    return fields.integer(key, low=0, high=_COUNT_MAX) if fields.has(key) else None


def _optional_number(fields: Fields, key: str) -> float | None:
    return fields.number(key, low=-_LARGEST, high=_LARGEST) if fields.has(key) else None


def _shape(fields: Fields, entry: object) -> tuple[str, tuple[int, ...]]:
    name, extents = entry if isinstance(entry, list | tuple) and len(entry) == 2 else (None, None)
    if not isinstance(name, str) or not isinstance(extents, list | tuple):
        fields.refuse("shapes", "pairs of an input's name and its extents", entry)
    if not all(type(extent) is int for extent in extents):
        fields.refuse("shapes", "whole numbers as extents", entry)
    return name, tuple(extents)
