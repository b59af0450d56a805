"""`CommandPost`: joins door, desk and ledger to the agent, and does itself what concerns no model: `snapshot` and `log_level`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from device_agent.commands.desk import CommandDesk, DeskLimits, Outcome
from device_agent.commands.door import CommandDoor
from device_agent.commands.ledger import Ledger
from device_agent.config.paths import ledger_path
from device_agent.contract.topics import subscription
from device_agent.log import set_level
from device_agent.occurrences import ModelOrdered
from device_agent.telemetry.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.commands.ledger import CommandKey, CommandRecord
    from device_agent.config import AgentConfig
    from device_agent.contract.commands import Operation
    from device_agent.contract.telemetry.message import Clock, Scalar
    from device_agent.telemetry.recorder import Recorder

_LOG = logging.getLogger("edgewright.commands")
_TURN_MESSAGES: Final = 16
"""Messages looked at in one turn of the loop, so that a flood does not keep it from its other work."""


class CommandPost:
    """See the module's docstring.

    Args:
        config: The whole configuration; the ledger lies beside the spool.
        recorder: Records states.
        wake: Wakes the loop.
        wall: Returns Unix time in seconds, and how far it can be trusted.
        order_model: Begins a command about the model; `complete` is called at its end.
        snapshot: Returns what is worth knowing, for `snapshot`.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        recorder: Recorder,
        wake: Callable[[], None],
        wall: Callable[[], tuple[float, Clock]],
        order_model: Callable[[ModelOrdered], None],
        snapshot: Callable[[], Mapping[str, Scalar]],
    ) -> None:
        wanted = config.commands
        self._recorder = recorder
        self._order_model = order_model
        self._snapshot = snapshot
        self._ignored_told = 0
        self._door = CommandDoor(wake)
        self._ledger = Ledger(ledger_path(config), keep=wanted.remembered)
        self._desk = CommandDesk(
            root=config.mqtt.topic_root,
            limits=DeskLimits(
                allowed=wanted.allowed,
                max_waiting=wanted.max_waiting,
                max_per_minute=wanted.max_per_minute,
                max_age_seconds=wanted.max_age_seconds,
                timeout_seconds=wanted.timeout_seconds,
            ),
            ledger=self._ledger,
            wall=wall,
            begin=self._begin,
            tell=self._tell,
        )
        self.subscriptions: tuple[Subscription, ...] = ()
        if config.mqtt.enabled and wanted.allowed:
            self.subscriptions = (
                Subscription(
                    topic=subscription("cmd", device=config.device.id, root=config.mqtt.topic_root),
                    what="commands",
                    take=self._door.offer,
                    required=False,  # an access rule that forbids commands is no reason to send no telemetry
                ),
            )

    @property
    def waiting(self) -> int:
        """Commands that were taken on and not ended."""
        return self._desk.waiting + (self._desk.current is not None)

    def recover(self) -> None:
        """Settle what the run before left behind."""
        if self._ledger.damage:
            self._recorder.event(
                "commands_forgotten",
                "warning",
                f"What became of commands before this start could not be read, and is forgotten: {self._ledger.damage}",
            )
        self._desk.recover()

    def turn(self, now_seconds: float, *, model_runs: bool) -> float:
        """Take in what came, begin what can be begun; return when to call again at the latest."""
        for _ in range(_TURN_MESSAGES):
            arrived = self._door.take()
            if arrived is None:
                return self._desk.turn(now_seconds, model_runs=model_runs)
            self._desk.offer(arrived.topic, arrived.payload, now_seconds)
        return min(self._desk.turn(now_seconds, model_runs=model_runs), now_seconds)

    def complete(self, key: CommandKey, *, code: str, reason: str) -> None:
        """End a command about the model."""
        self._desk.complete(key, Outcome(code=code, reason=reason))

    def close(self, reason: str) -> None:
        """End what is being done, begin nothing more."""
        self._desk.close(reason)

    def report(self) -> None:
        """If requests got no answer, record an event that tells; called once a window."""
        ignored = self._desk.ignored + self._door.turned_away
        if ignored > self._ignored_told:
            count = ignored - self._ignored_told
            self._recorder.event(
                "commands_ignored",
                "warning",
                f"{count} messages on topics of commands got no answer: more than commands.max_per_minute, or no such topic. "
                "What is retained is looked at again with the next connection.",
                {"commands": count},
            )
        self._ignored_told = ignored

    def _begin(self, key: CommandKey, operation: Operation, arguments: Mapping[str, str]) -> Outcome | None:
        _LOG.info("command %s/%s begins", *key)
        match operation:
            case "log_level":
                set_level(arguments["level"])
                return Outcome(reason="until the agent starts anew")
            case "snapshot":
                return Outcome(result=self._snapshot())
            case "pause" | "resume" | "restart_model":
                self._order_model(ModelOrdered(key, operation, arguments.get("model", "")))
                return None

    def _tell(self, record: CommandRecord) -> bool:
        return self._recorder.command(
            record.operation,
            record.id,
            status=record.status,
            code=record.code,
            reason=record.reason,
            result=record.result,
        )
