"""What devices send and what they are told. Fields that a client adds are passed over, as hawkBit does."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from host_tools.fleet.ddi.files import Bundle
from host_tools.fleet.store.ddi import DdiAction

Execution = Literal[
    "closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "download", "downloaded"
]
Finished = Literal["success", "failure", "none"]
UpdateMode = Literal["merge", "replace", "remove"]
MOST_ATTRIBUTES: Final = 100
LONGEST_ATTRIBUTE: Final = 128
"""Of a key and of a value. hawkBit's quotas, and its default."""
_LONGEST_WORDS: Final = 1_024


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class ActionOutcome(_Sent):
    """How it ended."""

    finished: Finished


class ActionStatus(_Sent):
    """Where an action is; `code` and `progress` are passed over."""

    execution: Execution
    result: ActionOutcome
    details: list[str] | None = None


class Feedback(_Sent):
    """What a device says of an action; the `id` and `time` of older clients are passed over."""

    status: ActionStatus

    @property
    def words(self) -> str:
        """The details as one text, the end of it where it is long, as every database can keep it."""
        details = (one.strip() for one in self.status.details or ())
        text = " ".join(one for one in details if one).replace("\0", "\N{REPLACEMENT CHARACTER}")
        return text[-_LONGEST_WORDS:]


_Word = Annotated[str, Field(max_length=LONGEST_ATTRIBUTE)]


class ConfigData(_Sent):
    """What a device says of itself."""

    mode: UpdateMode | None = None
    data: Annotated[dict[_Word, _Word | None], Field(max_length=MOST_ATTRIBUTES)]


def base_document(root: str, *, poll_seconds: float, links: dict[str, str]) -> dict[str, Any]:
    """Return the answer to a poll.

    Args:
        root: Address of the device's resources, without a slash at its end.
        poll_seconds: When it shall ask again; less than a day.
        links: Relation to the path below ``root``.
    """
    document: dict[str, Any] = {"config": {"polling": {"sleep": sleep_text(poll_seconds)}}}
    if links:
        document["_links"] = {relation: {"href": f"{root}/{path}"} for relation, path in links.items()}
    return document


def deployment_document(root: str, action: DdiAction, bundle: Bundle) -> dict[str, Any]:
    """Return what an action asks a device to do now: one chunk with one artifact."""
    address = f"{root}/softwaremodules/{action.number}/artifacts/{bundle.name}"
    # Of its two names for the same link a client knows one by whether the address has TLS.
    suffix = "" if address.startswith("https://") else "-http"
    artifact = {
        "filename": bundle.name,
        "hashes": {"sha1": bundle.sha1, "md5": bundle.md5, "sha256": bundle.sha256},
        "size": bundle.size_bytes,
        "_links": {
            f"download{suffix}": {"href": address},
            f"md5sum{suffix}": {"href": f"{address}.MD5SUM"},
        },
    }
    chunk = {"part": "bApp", "version": action.version, "name": action.name, "artifacts": [artifact]}
    return {
        "id": str(action.number),
        "deployment": {"download": "forced", "update": "forced", "chunks": [chunk]},
    }


def cancel_document(action: DdiAction) -> dict[str, Any]:
    """Return what asks a device to stop an action."""
    return {"id": str(action.number), "cancelAction": {"stopId": str(action.number)}}


def sleep_text(seconds: float) -> str:
    """Return a time to sleep as ``HH:MM:SS``; at least a second, less than a day."""
    whole = min(max(round(seconds), 1), 86_399)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
