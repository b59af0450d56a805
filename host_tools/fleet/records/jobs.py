"""Jobs: what one device owes one rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

JobState = Literal["scheduled", "download", "downloaded", "proceeding", "closed", "rejected", "canceled"]
"""hawkBit's `execution`, in its spelling; the last three are the end.

Source: Eclipse hawkBit, "Direct Device Integration API", feedback of `deploymentBase`.
"""
JobResult = Literal["none", "success", "failure"]
ENDED_JOBS: Final[frozenset[JobState]] = frozenset({"closed", "rejected", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one device owes one rollout. (rollout, device) is unique: no job is run twice.

    Attributes:
        rollout: Id of the rollout.
        device: The device.
        stage: Number of the stage that it came with, from 0.
        state: Where it is.
        result: How it ended.
        wanted: Digest of the artifact that this device shall run.
        previous: Digest of what it ran when the job was made; None: not heard.
        attempts: How often it was begun; a retry adds one.
        reason: Why it is there, in the device's words where it said so.
        created_seconds: Unix time at which this attempt was made.
        changed_seconds: Unix time of the last change of `state`.
        heard_seconds: Unix time at which the device was first heard in this attempt; None: not yet, it is absent.
    """

    rollout: str
    device: str
    stage: int
    state: JobState
    result: JobResult
    wanted: str
    previous: str | None
    attempts: int = 1
    reason: str = ""
    created_seconds: float = 0.0
    changed_seconds: float = 0.0
    heard_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """Jobs of one stage by how they are.

    Attributes:
        total: All of them: open, succeeded, failed and canceled together.
        absent: Open jobs of devices that have not been heard since their job was made, and devices that have
            none yet because nobody knows what they can run; a part of `open`.
        open: Not ended.
        succeeded: Ended so.
        failed: Ended so, rejected ones with them.
        canceled: Ended without a result.
        holding: Devices of these jobs that were last heard to run the release, whatever became of the job, and still take part in
            the group.
    """

    total: int = 0
    absent: int = 0
    open: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    holding: int = 0
