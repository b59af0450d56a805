"""`CutRecord`: every power cut of the suite `test_power_cuts`, a line each, so that it can be gone on with in another session.

A cut has two lines: one before the power goes, one when it is known what came of it. A cut without its second line was broken off with the
session, and is made again; it is counted, so that nobody can take a session that was ended for one that went well.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CutOutcome = Literal["kept", "brick", "wrong"]
"""The board came back and keeps the update; it did not; it did, and something else went wrong."""
SAME = ("rig", "board_image", "accelerator", "artifact_target")
"""Facts whose first word every session of a record shares: what follows an accelerator's name is why it was taken."""
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One power cut.

    Attributes:
        number: From 1 on.
        step: Of the update, which had just begun.
        pause_seconds: From the step's line in the log until the power went.
        outcome: What came of it.
        recovery_seconds: From the cut until the new model was kept; None where it was not.
        reason: What went wrong; empty where nothing did.
        seconds: All of it, from the release on.
    """

    number: int
    step: str
    pause_seconds: float
    outcome: CutOutcome
    recovery_seconds: float | None
    reason: str
    seconds: float


class CutRecord:
    """What is in a file of cuts, and what is added to it, each line on the disk before anything goes on.

    Args:
        path: The file; it is made where it is missing. None: nothing is kept.

    Attributes:
        cuts: Those whose end is known, in order.
        sessions: Facts of every session that added to it.
        broken_off: How many cuts have no end.

    Raises:
        InputError: It holds what this did not write; the message names the line.
        OutputError: It cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.cuts: list[Cut] = []
        self.sessions: list[Mapping[str, str]] = []
        self.broken_off = 0
        self._begun = False
        for number, line in enumerate(self._lines(), 1):
            self._take(line, f"{path}: line {number}")
        self.broken_off += self._begun
        self._begun = False

    def begin_session(self, facts: Mapping[str, str]) -> None:
        """Say which board the next cuts are of.

        Args:
            facts: As the report has them.

        Raises:
            InputError: The file is of another board.
            OutputError: It cannot be written.
        """
        for name in SAME if self.sessions else ():
            was, now = (told.get(name, "").partition(" ")[0] for told in (self.sessions[0], facts))
            if was != now:
                raise InputError(
                    f"{self._path}: is of {name} {was!r}, this session of {now!r}.",
                    hint="Give --rig-cuts-record another file.",
                )
        told = {**facts, "load_average": f"{os.getloadavg()[0]:.1f}", "began": f"{time.time():.0f}"}
        self._add({"session": told})
        self.sessions.append(told)

    def begin(self, number: int, step: str) -> None:
        """Say that the power will go.

        Raises:
            OutputError: It cannot be written.
        """
        self._add({"begun": number, "step": step})

    def end(self, cut: Cut) -> None:
        """Say what came of it.

        Raises:
            OutputError: It cannot be written.
        """
        self._add({"ended": asdict(cut)})
        self.cuts.append(cut)

    def _lines(self) -> list[bytes]:
        if self._path is None or not self._path.exists():
            return []
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                raise InputError(f"{self._path}: expected at most {_MOST_BYTES} bytes.")
            return self._path.read_bytes().split(b"\n")[:-1]  # what no line feed ends is half a line
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read: {error.strerror or error}.") from error

    def _take(self, line: bytes, where: str) -> None:
        try:
            document = json.loads(line)
            ((kind, value),) = [one for one in document.items() if one[0] != "step"]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{where}: expected a line of a record of power cuts, got {line[:80]!r}."
            ) from error
        if kind == "session" and isinstance(value, dict):
            self.sessions.append({str(name): str(one) for name, one in value.items()})
        elif kind == "begun":
            self.broken_off += self._begun
            self._begun = True
        elif kind == "ended" and isinstance(value, dict):
            self.cuts.append(_cut(value, where, number=len(self.cuts) + 1))
            self._begun = False
        else:
            raise InputError(f"{where}: expected session, begun or ended, got {kind!r:.80}.")

    def _add(self, line: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as stream:
                stream.truncate(_whole_bytes(self._path))
                stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}.") from error


def _whole_bytes(path: Path) -> int:
    """Return where the last whole line ends: a session that was killed may have left half of one."""
    return path.read_bytes().rfind(b"\n") + 1


def _cut(value: Mapping[str, Any], where: str, *, number: int) -> Cut:
    try:
        cut = Cut(**value)
        numbers = (
            cut.pause_seconds,
            cut.seconds,
            *([] if cut.recovery_seconds is None else [cut.recovery_seconds]),
        )
        is_sound = (
            cut.number == number
            and cut.outcome in get_args(CutOutcome)
            and (cut.outcome == "kept") == (cut.recovery_seconds is not None)
            and all(isinstance(one, (int, float)) and 0.0 <= one < 1e9 for one in numbers)
            and all(isinstance(one, str) for one in (cut.step, cut.reason))
        )
    except TypeError as error:
        raise InputError(f"{where}: expected a power cut, got {str(dict(value))[:200]}.") from error
    if not is_sound:
        raise InputError(
            f"{where}: expected power cut {number} with its outcome, got {str(dict(value))[:200]}."
        )
    return cut
