"""`Renewal`: renews the certificate before it expires while the agent runs, in a child process of its own.

`cryptography` and what it needs stay out of the agent's memory. The child can be killed wherever it is: the next
attempt goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from device_agent.enrolment.identity import IdentityFolder, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.config import IdentitySection
    from device_agent.enrolment.identity import Identity
    from device_agent.telemetry.recorder import Recorder

CHILD_SECONDS: Final = 120.0
"""After so long the child is killed; its two requests have deadlines of their own."""
_CLOSE_SECONDS: Final = 2.0
_MAX_ANSWER_BYTES: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalTiming:
    """When to renew, how long to pause after an attempt, and how long one may take, in seconds."""

    share_left: float
    pause_seconds: float
    child_seconds: float = CHILD_SECONDS


class Renewal:
    """One agent's renewal. Its `turn` never waits.

    Args:
        wanted: The configuration's section; without a folder there is nothing to do.
        device: The device's id.
        recorder: Takes the events.
        wall_seconds: This device's clock.
        jitter: A number from 0 to 1, so that a fleet does not come in one instant.
    """

    def __init__(
        self,
        wanted: IdentitySection,
        *,
        device: str,
        recorder: Recorder,
        wall_seconds: Callable[[], float],
        jitter: Callable[[], float],
        timing: RenewalTiming | None = None,
    ) -> None:
        self._folder = None if wanted.folder is None else IdentityFolder(wanted.folder)
        self._device = device
        self._recorder = recorder
        self._wall_seconds = wall_seconds
        self._jitter = jitter
        self._timing = timing or RenewalTiming(
            share_left=wanted.renew_share, pause_seconds=wanted.renew_pause_seconds
        )
        self._child: subprocess.Popen[bytes] | None = None
        self._child_deadline_seconds = 0.0
        self._next_look_seconds = 0.0
        self._told = ""
        self.trouble = ""

    def turn(self, now_seconds: float) -> str:
        """Look after the child, or begin one when it is time; return what is wrong with the certificate, if anything."""
        if self._child is not None:
            self._attend(self._child, now_seconds)
        elif self._folder is not None and now_seconds >= self._next_look_seconds:
            self._look(self._folder, now_seconds)
        return self.trouble

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._end(self._child)
            self._child = None

    def _look(self, folder: IdentityFolder, now_seconds: float) -> None:
        self._next_look_seconds = now_seconds + self._pause_seconds()
        try:
            identity = folder.required(self._device)
        except EdgewrightError as error:
            self._failed(str(error))
            return
        if self._wall_seconds() >= due_seconds(identity, share_left=self._timing.share_left):
            self._begin(folder, now_seconds)
        else:
            self.trouble = self._told = ""

    def _begin(self, folder: IdentityFolder, now_seconds: float) -> None:
        command = [sys.executable, "-m", "device_agent.enrolment", str(folder.path), self._device]
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self._failed(f"the renewal's process cannot be started: {error}")
            return
        self._child_deadline_seconds = now_seconds + self._timing.child_seconds

    def _attend(self, child: subprocess.Popen[bytes], now_seconds: float) -> None:
        if child.poll() is None:
            if now_seconds < self._child_deadline_seconds:
                return
            self._end(child)
            self._child = None
            self._failed(f"the renewal did not end within {self._timing.child_seconds:g} s")
            return
        answer = b"" if child.stdout is None else child.stdout.read(_MAX_ANSWER_BYTES)
        self._end(child)
        self._child = None
        self._next_look_seconds = now_seconds + self._pause_seconds()
        error = _error_of(answer, child.returncode)
        if error:
            self._failed(error)
            return
        self._renewed()

    def _renewed(self) -> None:
        self.trouble = self._told = ""
        identity = None if self._folder is None else self._folder.current()
        if identity is not None:
            self._recorder.event(
                "certificate_renewed",
                "info",
                f"The new certificate is valid until {utc_text(identity.not_after_seconds)}; the next connection uses it.",
                {"serial": identity.serial, "not_after_seconds": identity.not_after_seconds},
            )

    def _failed(self, reason: str) -> None:
        """Say it in the health as long as it lasts, and as an event once for every reason."""
        left = ""
        with contextlib.suppress(EdgewrightError):
            identity = None if self._folder is None else self._folder.current()
            if identity is not None:
                over = identity.not_after_seconds <= self._wall_seconds()
                left = f" {'It expired' if over else 'It is valid until'} {utc_text(identity.not_after_seconds)}."
        self.trouble = f"the certificate could not be renewed: {reason}{left}"
        if reason != self._told:
            self._told = reason
            self._recorder.event("certificate_not_renewed", "error", self.trouble)

    def _pause_seconds(self) -> float:
        return self._timing.pause_seconds * (0.5 + 0.5 * self._jitter())

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_CLOSE_SECONDS)
        if child.stdout is not None:
            child.stdout.close()


def due_seconds(identity: Identity, *, share_left: float) -> float:
    """Return the Unix time at which a certificate is to be renewed: when ``share_left`` of its validity is left."""
    lifetime = identity.not_after_seconds - identity.not_before_seconds
    return identity.not_after_seconds - share_left * lifetime


def _error_of(answer: bytes, status: int) -> str:
    """Return the child's error, empty when it has renewed."""
    try:
        said = json.loads(answer)
        return str(said["error"])
    except (ValueError, KeyError, TypeError):
        return f"the renewal's process ended with status {status} and no word"
