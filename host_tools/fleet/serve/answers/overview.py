"""What is told of the server and of the fleet as a whole."""

from __future__ import annotations

from host_tools.fleet.serve.answers.answer import Answer


class Alive(Answer):
    """The server answers, and so does its store.

    `leads`: this server makes the fleet's rollouts go on; of several servers of one database one does.
    """

    status: str
    leads: bool


class Overview(Answer):
    """The fleet at a glance.

    Attributes:
        devices: How many.
        by_state: Of devices.
        by_health: Likewise; an empty key: not heard.
        by_group: Likewise.
        by_artifact: Likewise, by digest; an empty key: none, or not heard.
        open_rollouts: Rollouts that have not ended.
        open_effects: What devices were not told yet.
        newest_change: Number of the newest event.
    """

    devices: int
    by_state: dict[str, int]
    by_health: dict[str, int]
    by_group: dict[str, int]
    by_artifact: dict[str, int]
    open_rollouts: int
    open_effects: int
    newest_change: int
