"""`CommandDesk`: what is taken on, refused, begun and told. One thread; time is passed in.

A command is written down before it is begun, and its end before it is told, so that after a kill at any moment it has
one end: what had begun and not ended is `interrupted`, what had ended and was not told is told. A request that was not
begun is still at the broker, retained, and comes again with the next connection.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from device_agent.commands.ledger import CommandRecord
from device_agent.contract import topics
from device_agent.contract.commands import (
    ABOUT_THE_MODEL,
    MAX_REQUEST_BYTES,
    OPERATIONS,
    CommandRequest,
    decode_request,
    status_of,
)
from device_agent.contract.errors import ContractError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.commands.ledger import CommandKey, Ledger
    from device_agent.contract.commands import Operation
    from device_agent.contract.telemetry.message import Clock, Scalar

_LOG = logging.getLogger("edgewright.commands")
_NEVER: Final = float("inf")
_LONGEST_REASON: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskLimits:
    """Bounds; see the commands section of `AgentConfig`."""

    allowed: tuple[str, ...]
    max_waiting: int
    max_per_minute: float
    max_age_seconds: float
    timeout_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended; an empty ``code`` is success."""

    code: str = ""
    reason: str = ""
    result: Mapping[str, Scalar] = field(default_factory=dict)


class Begin(Protocol):
    """Begins a command."""

    def __call__(self, key: CommandKey, operation: Operation, arguments: Mapping[str, str]) -> Outcome | None:
        """Return how it ended, or None when `CommandDesk.complete` will be told."""
        ...


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A command that waits or is under way."""

    key: CommandKey
    operation: Operation
    request: CommandRequest


class CommandDesk:
    """See the module's docstring.

    Args:
        root: What the device's topics begin with.
        limits: Bounds.
        ledger: What became of the commands.
        wall: Returns Unix time in seconds, and how far it can be trusted.
        begin: Begins a command.
        tell: Records a command's state for the broker; returns whether it is safe on disk.

    Attributes:
        ignored: Requests that got no answer, because answers are limited, or because their topic is none.
    """

    def __init__(
        self,
        *,
        root: str,
        limits: DeskLimits,
        ledger: Ledger,
        wall: Callable[[], tuple[float, Clock]],
        begin: Begin,
        tell: Callable[[CommandRecord], bool],
    ) -> None:
        self.ignored = 0
        self._root = root
        self._limits = limits
        self._ledger = ledger
        self._wall = wall
        self._begin = begin
        self._tell = tell
        self._waiting: deque[_Accepted] = deque()
        self._current: CommandKey | None = None
        self._deadline_seconds = _NEVER
        self._closed = False
        self._allowance = limits.max_per_minute
        self._refilled_seconds = 0.0

    @property
    def current(self) -> CommandKey | None:
        """The command that is being done."""
        return self._current

    @property
    def waiting(self) -> int:
        """Commands that were taken on and not begun."""
        return len(self._waiting)

    def recover(self) -> None:
        """Settle what the run before left behind."""
        for record in self._ledger.unsettled:
            if record.status == "executing":
                self._settle(
                    record.key, Outcome(code="interrupted", reason="the agent ended before the command did")
                )
            else:
                self._announce(record)

    def offer(self, topic: str, payload: bytes, now_seconds: float) -> None:
        """Take in a message of a command's topic: a request, our own state coming back, or anything at all."""
        if self._closed or not payload:
            return  # an empty payload clears the topic: nothing is wanted
        try:
            parsed = topics.parse(topic, root=self._root)
        except ContractError as error:
            self._ignore(str(error))
            return
        key = parsed.name, parsed.detail
        status, malformed = None, ""
        try:
            status = status_of(payload, where="request")
        except ContractError as error:
            malformed = str(error)
        if status in ("successful", "failed"):
            return
        known = self._ledger.get(key)
        if known is not None or key == self._current or any(key == one.key for one in self._waiting):
            # What we said has been overwritten; who asked twice is told once more, and nothing is done twice.
            if known is not None and status != "executing" and self._may_answer(now_seconds):
                self._announce(known)
            return
        if not self._may_answer(now_seconds):
            self._ignore(f"{'/'.join(key)}: more than {self._limits.max_per_minute:g} a minute")
            return
        if status == "executing":
            self._settle(
                key,
                Outcome(
                    code="lost",
                    reason="the topic says that it is being done, but the device knows nothing of it",
                ),
            )
            return
        refusal = self._considered(key, payload, malformed)
        if refusal is not None:
            _LOG.warning("command %s/%s refused: %s: %s", *key, refusal.code, refusal.reason)
            self._settle(key, refusal)

    def turn(self, now_seconds: float, *, model_runs: bool = True) -> float:
        """Give up on what takes too long, begin what waits; return when to call again at the latest.

        Args:
            now_seconds: Monotonic time.
            model_runs: Whether what concerns the model can be begun. Right after a start it waits until it can.
        """
        if self._current is not None and now_seconds >= self._deadline_seconds:
            self.complete(
                self._current,
                Outcome(code="timeout", reason=f"not done in {self._limits.timeout_seconds:g} s"),
            )
        while self._current is None and self._waiting and not self._closed:
            if not model_runs and self._waiting[0].operation in ABOUT_THE_MODEL:
                break
            self._start(self._waiting.popleft(), now_seconds)
        return self._deadline_seconds

    def complete(self, key: CommandKey, outcome: Outcome) -> None:
        """End the command that is being done; the end of another one, which came too late, changes nothing."""
        if key != self._current:
            return
        self._current = None
        self._deadline_seconds = _NEVER
        _LOG.info("command %s/%s: %s", *key, outcome.code or "successful")
        self._settle(key, outcome)

    def close(self, reason: str) -> None:
        """The agent ends: end what is being done, begin nothing more. What waits is retained at the broker, for the next start."""
        if self._current is not None:
            self.complete(self._current, Outcome(code="interrupted", reason=reason))
        self._closed = True
        self._waiting.clear()

    def _considered(self, key: CommandKey, payload: bytes, malformed: str) -> Outcome | None:
        """Take a request on, or return why not."""
        name, command_id = key
        operation = next((known for known in OPERATIONS if known == name), None)
        if operation is None:
            return Outcome(code="unknown_operation", reason=f"{name!r} is none of {', '.join(OPERATIONS)}")
        if operation not in self._limits.allowed:
            return Outcome(code="not_allowed", reason=f"commands.allowed of this device has no {name!r}")
        if len(payload) > MAX_REQUEST_BYTES:
            return Outcome(code="oversized", reason=f"{len(payload)} bytes; at most {MAX_REQUEST_BYTES}")
        try:
            request = decode_request(payload, operation, where=f"command {name}/{command_id}")
        except ContractError as error:
            return Outcome(code="malformed", reason=malformed or str(error))
        late = self._too_late(request)
        if late is not None:
            return late
        if len(self._waiting) >= self._limits.max_waiting:
            return Outcome(code="too_many", reason=f"{len(self._waiting)} commands wait already")
        self._waiting.append(_Accepted(key, operation, request))
        return None

    def _too_late(self, request: CommandRequest) -> Outcome | None:
        now, clock = self._wall()
        if clock == "floor":
            return Outcome(
                code="clock", reason="the device's clock is not set: whether it has expired cannot be told"
            )
        ahead = request.time - now
        if ahead > self._limits.max_age_seconds:
            # It would stay good for all that time, beyond the memory that keeps it from being done twice.
            return Outcome(
                code="clock", reason=f"it was asked {ahead:.0f} s from now by the device's clock ({clock})"
            )
        latest = request.time + self._limits.max_age_seconds
        expires = latest if request.expires is None else min(request.expires, latest)
        if now < expires:
            return None
        return Outcome(
            code="expired", reason=f"expired {now - expires:.0f} s ago by the device's clock ({clock})"
        )

    def _start(self, accepted: _Accepted, now_seconds: float) -> None:
        late = self._too_late(accepted.request)
        if late is not None:
            self._settle(accepted.key, late)
            return
        record = CommandRecord(operation=accepted.operation, id=accepted.key[1], status="executing")
        try:
            self._ledger.put(record)
        except StorageError as error:
            # What cannot be written down would be done again after a restart.
            self._ledger.forget(record.key)
            self._settle(record.key, Outcome(code="storage", reason=str(error)))
            return
        self._current = accepted.key
        self._deadline_seconds = now_seconds + self._limits.timeout_seconds
        self._tell(record)
        outcome = self._begin(accepted.key, accepted.operation, accepted.request.arguments)
        if outcome is not None:
            self.complete(accepted.key, outcome)

    def _settle(self, key: CommandKey, outcome: Outcome) -> None:
        """Write an end down, then tell it."""
        record = CommandRecord(
            operation=key[0],
            id=key[1],
            status="failed" if outcome.code else "successful",
            code=outcome.code,
            reason=outcome.reason[:_LONGEST_REASON],
            result=outcome.result,
        )
        self._write(record)
        self._announce(record)

    def _announce(self, record: CommandRecord) -> None:
        if self._tell(record) and not record.told and record.status != "executing":
            self._write(replace(record, told=True))

    def _write(self, record: CommandRecord) -> None:
        try:
            self._ledger.put(record)
        except StorageError as error:
            _LOG.error("what became of command %s/%s is not on disk: %s", *record.key, error)

    def _may_answer(self, now_seconds: float) -> bool:
        """Whether one more answer is within the rate; every one costs a write and a message."""
        most = self._limits.max_per_minute
        grown = self._allowance + (now_seconds - self._refilled_seconds) * most / 60.0
        self._allowance, self._refilled_seconds = min(most, grown), now_seconds
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _ignore(self, reason: str) -> None:
        self.ignored += 1
        _LOG.debug("a command gets no answer: %s", reason)
