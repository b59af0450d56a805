"""`Courier`: takes messages from the spool to the broker: when to connect, what to send, how fast. Time is passed in.

A message is deleted on acknowledgement only, be it that the broker has taken it or that it never will. Whatever is
unacknowledged when a connection ends is sent again over the next: the server sees it twice at most for every break and
knows it by (device, ``boot_id``, ``seq``).

A broker that is killed forgets what it has acknowledged and not passed on. With `CourierLimits.resend_seconds` a
message outlives its acknowledgement for so long, and is sent again when the connection ends in that time, or when the
broker says that nobody was subscribed (MQTT 5).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from device_agent.telemetry.link import BrokerReport, Connected, Delivered, Disconnected
from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.telemetry.spool import Spool
    from device_agent.telemetry.store import SpooledMessage

_NEVER: Final = float("inf")
_SETTLED_SECONDS: Final = 60.0
"""A connection that lasts so long is a good one: the pauses between attempts begin anew."""
_MOST_KEPT: Final = 1000
"""So many messages outlive their acknowledgement at most, whatever the time: they take room of the spool."""
_SHORT_CONNECTIONS: Final = 3
"""So many in a row that did not last are told. Two clients of one id push each other off the broker for ever."""


class Connection(Protocol):
    """What the courier needs of a connection; `BrokerConnection` is the real one."""

    def send(self, message: SpooledMessage) -> None:
        """Send with QoS 1."""

    def close(self) -> None:
        """End with DISCONNECT."""

    def abort(self, reason: str) -> None:
        """End without."""

    def join(self, timeout_seconds: float) -> bool:
        """Wait for its end; return whether it has ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierLimits:
    """Bounds and pauses; see the mqtt section of `AgentConfig`."""

    max_inflight_messages: int
    max_messages_per_second: float
    reconnect_min_seconds: float
    reconnect_max_seconds: float
    ack_timeout_seconds: float
    resend_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LinkChange:
    """The link went up, or down (with the reason); or an attempt to connect failed (down again)."""

    connected: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker threw a message of ``topic`` away, and why; ``kept``: it will be sent again, after a pause."""

    topic: str
    kind: Kind
    reason: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is in flight since when."""

    seconds: float
    topic: str
    kind: Kind


class Courier:
    """See the module's docstring.

    Args:
        spool: Where messages wait.
        limits: Bounds and pauses.
        open_connection: Begins a connection of the given number.
        jitter: Returns a number from 0 to 1, for the pauses.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        limits: CourierLimits,
        open_connection: Callable[[int], Connection],
        jitter: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._limits = limits
        self._open_connection = open_connection
        self._jitter = jitter
        self._connection: Connection | None = None
        self._number = 0
        self._attempts = 0
        self._next_attempt_seconds = 0.0
        self._connected_seconds = 0.0
        self._short_connections = 0
        self._last_end = self._refusal = ""
        self._sent: dict[int, _Sent] = {}
        self._kept: deque[tuple[float, int]] = deque()
        self._resting = False
        self._rests = 0
        self._rested_seconds = 0.0
        self._allowance = float(limits.max_inflight_messages)
        self._refilled_seconds = 0.0
        self._closing = False
        self.connected = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight; what is acknowledged and kept does not wait."""
        return not self._sent and self._spool.rows == len(self._kept)

    @property
    def doubt(self) -> str:
        """What is wrong with the link that does not pass by itself, as an outage does; empty when nothing is."""
        if self._refusal:
            return self._refusal
        if self._short_connections < _SHORT_CONNECTIONS:
            return ""
        return (
            f"connections to the broker last less than {_SETTLED_SECONDS:g} s, the last one ended with: "
            f"{self._last_end}; another client may use the same mqtt.client_id"
        )

    def turn(self, now_seconds: float) -> float:
        """Do what is due: connect, send, give up on a silent broker.

        Args:
            now_seconds: Monotonic time.

        Returns:
            When to call again at the latest, if nothing is reported before.
        """
        if self._closing:
            return _NEVER
        if self._connection is None:
            if now_seconds < self._next_attempt_seconds:
                return self._next_attempt_seconds
            self._number += 1
            self._connection = self._open_connection(self._number)
        if not self.connected:
            return _NEVER
        if now_seconds - self._connected_seconds >= _SETTLED_SECONDS:
            self._short_connections = 0
        self._let_go(now_seconds)
        return self._send(self._connection, now_seconds)

    def handle(self, report: BrokerReport, now_seconds: float) -> LinkChange | Refused | None:
        """Take in a report of a connection; reports of an older one change nothing."""
        if report.number != self._number:
            return None
        match report:
            case Connected():
                self.connected, self._refusal = True, ""
                self._connected_seconds = self._refilled_seconds = self._rested_seconds = now_seconds
                self._allowance = float(self._limits.max_inflight_messages)
                return LinkChange(connected=True, reason="")
            case Delivered():
                return self._delivered(report, now_seconds)
            case Disconnected():
                if self.connected:
                    self._judge_connection(now_seconds - self._connected_seconds, report.reason)
                if report.refused:
                    self._refusal = report.reason
                self._connection = None
                self.connected = self._resting = False
                self._sent.clear()
                self._release()
                self._next_attempt_seconds = now_seconds + self._pause_seconds()
                return LinkChange(connected=False, reason=report.reason)

    def close(self, timeout_seconds: float) -> bool:
        """End the connection, if there is one, and make no other; return whether it ended in time."""
        self._closing = True
        if self._connection is None:
            return True
        self._connection.close()
        return self._connection.join(timeout_seconds)

    def abort(self, reason: str, timeout_seconds: float) -> bool:
        """End the connection without a goodbye, so that the last will speaks, and make no other; return whether it ended in time."""
        self._closing = True
        if self._connection is None:
            return True
        self._connection.abort(reason)
        return self._connection.join(timeout_seconds)

    def _delivered(self, report: Delivered, now_seconds: float) -> Refused | None:
        sent = self._sent.pop(report.message_id, None)
        if sent is None:
            return None
        if report.refused and report.may_retry:
            self._resting = True
            return Refused(sent.topic, sent.kind, report.refused, kept=True)
        keeps = self._limits.resend_seconds > 0 and sent.kind is not Kind.STATE
        if report.refused or not keeps:
            self._spool.acknowledge(report.message_id)
        elif report.unheard:
            self._resting = True
            return None
        else:
            self._kept.append((now_seconds, report.message_id))
        if report.refused:
            return Refused(sent.topic, sent.kind, report.refused)
        self._rests = 0
        return None

    def _let_go(self, now_seconds: float) -> None:
        """Delete what has outlived its acknowledgement for long enough."""
        oldest = now_seconds - self._limits.resend_seconds
        while self._kept and (self._kept[0][0] <= oldest or len(self._kept) > _MOST_KEPT):
            self._spool.acknowledge(self._kept.popleft()[1])

    def _release(self) -> None:
        """Let everything be taken again that the spool still has, what was acknowledged and kept among it."""
        self._kept.clear()
        self._spool.release()

    def _judge_connection(self, lived_seconds: float, end: str) -> None:
        """Begin the pauses anew after a good connection; after a bad one go on with them, whatever it has delivered."""
        self._last_end = end
        if lived_seconds >= _SETTLED_SECONDS:
            self._attempts = self._short_connections = 0
        else:
            self._short_connections += 1

    def _send(self, connection: Connection, now_seconds: float) -> float:
        oldest = min((sent.seconds for sent in self._sent.values()), default=_NEVER)
        if now_seconds - oldest > self._limits.ack_timeout_seconds:
            connection.abort(f"no acknowledgement within {self._limits.ack_timeout_seconds:g} s")
            return _NEVER
        if self._resting and not self._sent:
            self._release()
            self._resting = False
            self._rested_seconds = now_seconds + self._doubled_seconds(self._rests)
            self._rests += 1
        if self._resting or now_seconds < self._rested_seconds:
            return min(oldest + self._limits.ack_timeout_seconds, max(self._rested_seconds, now_seconds))
        rate = self._limits.max_messages_per_second
        grown = self._allowance + (now_seconds - self._refilled_seconds) * rate
        self._allowance = min(float(self._limits.max_inflight_messages), grown)
        self._refilled_seconds = now_seconds
        room = min(self._limits.max_inflight_messages - len(self._sent), int(self._allowance))
        messages = self._spool.take(room) if room > 0 else []
        for message in messages:
            connection.send(message)
            self._sent[message.id] = _Sent(now_seconds, message.topic, message.kind)
        self._allowance -= len(messages)
        due = (
            min((sent.seconds for sent in self._sent.values()), default=_NEVER)
            + self._limits.ack_timeout_seconds
        )
        if len(messages) == room and self._allowance < 1:
            due = min(due, now_seconds + (1 - self._allowance) / rate)
        return due

    def _pause_seconds(self) -> float:
        """Doubling from the shortest pause to the longest, the upper half of it at random."""
        doubled = self._doubled_seconds(self._attempts)
        self._attempts += 1
        return doubled * (0.5 + 0.5 * self._jitter())

    def _doubled_seconds(self, times: int) -> float:
        limits = self._limits
        return min(limits.reconnect_max_seconds, limits.reconnect_min_seconds * 2.0 ** min(times, 30))
