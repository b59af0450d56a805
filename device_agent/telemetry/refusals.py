"""`Refusals`: messages that the broker threw away, counted by topic and told once a window.

Never one by one: a broker that refuses events would refuse the event that tells of it, and so on for ever.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.telemetry.courier import Refused
    from device_agent.telemetry.recorder import Recorder

_LOG = logging.getLogger("edgewright.agent")


@dataclass(frozen=True, slots=True)
class _Topic:
    """How many messages of one topic were refused in this window, and why the last one was."""

    messages: int
    reason: str


class Refusals:
    """See the module's docstring.

    Args:
        recorder: Counts the loss and takes the event.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._topics: dict[str, _Topic] = {}

    def count(self, refused: Refused) -> None:
        """Take in one refusal."""
        if refused.kept:
            _LOG.warning(
                "the broker does not take %s now: %s; it is sent again", refused.topic, refused.reason
            )
            return
        self._recorder.count_refused(refused.kind)
        if self._recorder.tells_of_loss(refused.topic):
            return
        before = self._topics.get(refused.topic)
        if before is None:
            _LOG.warning("the broker refused a message of %s: %s", refused.topic, refused.reason)
        messages = 1 if before is None else before.messages + 1
        self._topics[refused.topic] = _Topic(messages, refused.reason)

    def report(self) -> str:
        """Record an event if anything was refused since the last call, and return what is wrong; empty if nothing is."""
        topics, self._topics = self._topics, {}
        if not topics:
            return ""
        messages = sum(topic.messages for topic in topics.values())
        first = min(topics)
        others = f" and {len(topics) - 1} other topics" if len(topics) > 1 else ""
        self._recorder.event(
            "message_refused",
            "error",
            f"The broker refused {messages} messages, of {first}{others}: {topics[first].reason}",
            {
                "messages": messages,
                "topics": len(topics),
                "topic": first,
                "messages_of_topic": topics[first].messages,
                "reason": topics[first].reason,
            },
        )
        return f"the broker refuses messages of {first}{others}: {topics[first].reason}"
