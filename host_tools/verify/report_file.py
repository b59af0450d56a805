"""`report.json`: a `VerificationReport` as JSON, for machines; and the reproducible part of it that goes into an artifact."""

from __future__ import annotations

import dataclasses
import json
import math

from host_tools.errors import InputError
from host_tools.typed_json import TypedReader
from host_tools.verify.verification_report import SCHEMA_VERSION, TargetReport, VerificationReport


class ReportFileError(InputError):
    """A report file is damaged or does not say what a report must; the message names file and key."""

    code = "report_file"


_READER = TypedReader(VerificationReport, version=SCHEMA_VERSION, error=ReportFileError, null_is_nan=True)


def encode(report: VerificationReport) -> bytes:
    """Return the whole report as UTF-8 JSON with a final newline; what is not finite is written as null."""
    return _dump({"schema_version": SCHEMA_VERSION, "verdict": report.verdict, **dataclasses.asdict(report)})


def decode(data: bytes, *, where: str) -> VerificationReport:
    """Read a report from the bytes of a ``report.json``; what was not finite comes back as NaN.

    Args:
        data: The file's bytes.
        where: The file's name, for messages.

    Raises:
        ReportFileError: The bytes are not a report; the message names file and key.
        SchemaVersionError: The report is of a newer major version.
    """
    return _READER.decode(data, where=where)


def encode_reproducible(report: TargetReport) -> bytes:
    """Return one target's report without latency and how long each method took, which alone differ from run to run."""
    fields = dataclasses.asdict(dataclasses.replace(report, latency=None))
    stages = [{key: value for key, value in stage.items() if key != "seconds"} for stage in fields["stages"]]
    return _dump({"schema_version": SCHEMA_VERSION, **fields, "stages": stages})


def _without_nonfinite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nonfinite(item) for item in value]
    return value


def _dump(value: object) -> bytes:
    cleaned = _without_nonfinite(value)
    return (json.dumps(cleaned, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
