"""`Interpreter`: what came from the broker, into a `Collector`: rows of what is understood, dead letters of the rest.

What is neither: requests of commands and desired twins (they are of the one who commands, not of a device) and empty payloads
that clear a command. An empty payload clears an alarm, and is a row of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract import topics
from device_agent.contract.errors import ContractError
from device_agent.contract.telemetry.codec import decode, decode_envelope
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import MEASUREMENTS
from device_agent.contract.telemetry.result import Result
from device_agent.contract.telemetry.states import Alarm, Birth, CommandState, Health, Reported
from host_tools.review.ingest.fast_rows import fast_rows
from host_tools.review.ingest.rows import Rows, rows_of, rows_with
from host_tools.review.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Message
    from device_agent.contract.topics import Topic
    from host_tools.review.ingest.batching import Collector
    from host_tools.review.ingest.subscriber import Publication

FUTURE_SECONDS: Final = 86_400.0
"""A message dated later than this after its receipt, by a clock that a time service vouches for, is not believed."""
COARSEST_SCALE: Final = 3
"""Of the buckets of latencies: 9 % wide; agents' own have scale 5. Merged histograms are as coarse as the coarsest of them, so one
window of one device could take the percentiles of the whole fleet away."""
_SCALE_PLACE: Final = TABLES["inference"].names.index("hist_scale") - TABLES["inference"].names.index("model")
_KNOWN_TOPICS = 200_000
_CATEGORY_KINDS: Mapping[str, type[Message]] = {"e": Event, "a": Alarm, "o": Result, "cmd": CommandState}
_STATUS_KINDS: Mapping[str, type[Message]] = {"health": Health, "birth": Birth}


@dataclass(frozen=True, slots=True)
class _Route:
    """What a topic means; ``kind`` is None for a measurement that this version does not know."""

    text: str
    topic: Topic
    kind: type[Message] | None
    fast: str


class Interpreter:
    """Interprets message by message.

    Args:
        root: Topic root.
        collector: Where everything goes.

    Attributes:
        judged: How many messages the fast way left to the contract.
        refused: How many were not understood.
    """

    def __init__(self, *, root: str, collector: Collector) -> None:
        self._root = root
        self._collector = collector
        self._routes: dict[bytes, _Route] = {}
        self.judged = 0
        self.refused = 0

    def take(self, publication: Publication, *, received: float) -> bool:
        """Interpret one message; return whether it left something in the collector."""
        payload = publication.payload
        try:
            route = self._routes.get(publication.topic) or self._route(publication.topic)
            rows = fast_rows(route.fast, payload) if route.fast else None
            if rows is None:
                if _is_of_the_host(route.topic, payload):
                    return False
                self.judged += 1
                rows = self._judge(route, publication, received)
            _require_harmless(rows, received, where=route.text)
        except ContractError as error:
            self._refuse(publication, received, str(error))
        except Exception as error:  # noqa: BLE001  whatever a message does, it must not stop the others
            self._refuse(publication, received, f"cannot be read: {type(error).__name__}: {error}")
        else:
            self._collector.add(route.topic.device, rows, received=received, retained=publication.retained)
        return True

    def _refuse(self, publication: Publication, received: float, reason: str) -> None:
        self.refused += 1
        topic = publication.topic.decode("utf-8", "backslashreplace")
        self._collector.add_dead_letter(topic, publication.payload, received=received, reason=reason)

    def _route(self, name: bytes) -> _Route:
        """Read a topic; it will come again.

        Raises:
            ContractError: It is not in the grammar.
        """
        text = name.decode("utf-8", "backslashreplace")
        topic = topics.parse(text, root=self._root)
        kind = (
            MEASUREMENTS.get(topic.name)
            if topic.category == "m" and not topic.detail
            else _STATUS_KINDS.get(topic.name)
            if topic.category == "status"
            else Reported
            if (topic.category, topic.name) == ("twin", "reported")
            else _CATEGORY_KINDS.get(topic.category)
        )
        fast = topic.name if topic.category == "m" else "result" if topic.category == "o" else ""
        route = _Route(text, topic, kind, fast)
        if len(self._routes) >= _KNOWN_TOPICS:
            self._routes.clear()
        self._routes[name] = route
        return route

    def _judge(self, route: _Route, publication: Publication, received: float) -> Rows:
        """Read a message as the contract has it.

        Raises:
            ContractError: It breaks a rule, or is not what its topic says.
        """
        topic, payload = route.topic, publication.payload
        if topic.category == "a" and not payload:
            return _cleared(topic.name, received, sent_again=publication.sent_again)
        if route.kind is None:
            if topic.category != "m" or topic.detail:
                raise ContractError(f"{route.text}: nothing that a device sends is expected there.")
            # A newer agent measures something more: its number counts, or messages would seem missing.
            return rows_with(decode_envelope(payload, where=route.text), "other", [])
        message = decode(route.kind, payload, where=route.text)
        if isinstance(message, Event) and (message.device, message.name) != (topic.device, topic.name):
            raise ContractError(
                f"{route.text}: expected event {topic.name!r} of device {topic.device!r}, got "
                f"{message.name!r} of {message.device!r}."
            )
        return rows_of(message, name=topic.name)


def _require_harmless(rows: Rows, received: float, *, where: str) -> None:
    """Refuse what the contract takes, and would spoil what other messages say.

    Raises:
        ContractError: It is of the future, or of buckets that are too wide.
    """
    if rows.clock == "synced" and rows.time > received + FUTURE_SECONDS:
        raise ContractError(
            f"{where}: dated {rows.time - received:.0f} s after its receipt, by a clock that calls itself synced."
        )
    if rows.table == "inference":
        scale = rows.rows[0][_SCALE_PLACE]
        if isinstance(scale, int) and scale < COARSEST_SCALE:
            raise ContractError(f"{where}: hist.scale: expected {COARSEST_SCALE} to 20, got {scale}.")


def _cleared(name: str, received: float, *, sent_again: bool) -> Rows:
    """Return the row of an alarm that is over; its message is empty, so the time is this machine's."""
    return Rows("", -2 if sent_again else -1, received, 0.0, "synced", None, "alarm", [(name, "cleared", "")])


def _is_of_the_host(topic: Topic, payload: bytes) -> bool:
    """Whether a message is of the one who commands."""
    if topic.category == "twin":
        return topic.name == "desired"
    return topic.category == "cmd" and _is_request(payload)


def _is_request(payload: bytes) -> bool:
    """Whether a command's message is of the one who commands: empty, or a request, which has no number."""
    return not payload or b'"boot_id"' not in payload
