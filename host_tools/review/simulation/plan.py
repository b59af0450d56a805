"""What fleet is to be simulated, and what stays the same of each of its devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.review.simulation.boards import BOARDS, Board
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from host_tools.review.simulation.truth import Injection

_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """What fleet there is to be.

    Attributes:
        devices: How many.
        days: For how long.
        level: Length of the windows.
        start: Unix time of the first; a midnight.
        boards: Kinds of devices, in equal parts.
        rollout_at: Seconds after the start when the first device changes from artifact 0 to 1; None: never.
        rollout_seconds: How long it takes until the last one has.
        rollout_share: Share of the devices that change.
        restarts_a_day: How often a healthy device starts again.
        outages_a_day: How often a healthy device is away from the network for hours; what it said comes late.
        wrong_clocks: Share of the devices without a clock that is right.
        injections: What is wrong.
    """

    devices: int = 200
    days: float = 8.0
    level: Level = Level.HOUR
    start: float = 1_785_715_200.0
    boards: tuple[Board, ...] = BOARDS
    rollout_at: float | None = 4 * _DAY
    rollout_seconds: float = 0.0
    rollout_share: float = 1.0
    restarts_a_day: float = 0.03
    outages_a_day: float = 0.02
    wrong_clocks: float = 0.02
    injections: tuple[Injection, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ValueError: There is no device, no window or no board.
        """
        if self.devices < 1 or self.windows < 1 or not self.boards:
            raise ValueError(
                f"fleet: expected a device, a board and a window at least, got {self.devices} devices, "
                f"{len(self.boards)} boards, {self.days} days in windows of {self.level.seconds} s"
            )

    @property
    def windows(self) -> int:
        """How many windows there are for each device."""
        return int(self.days * _DAY // self.level.seconds)

    @property
    def end(self) -> float:
        """Unix time of the end."""
        return self.start + self.windows * self.level.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDevice:
    """What stays the same of a device.

    Attributes:
        device: Device id.
        board: Its kind.
        site: Index of where it stands.
        kernel: Version of its operating system's kernel.
        agent_version: Version of the agent.
    """

    device: str
    board: Board
    site: int
    kernel: str
    agent_version: str

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """As a store tells them."""
        return (
            ("agent_version", self.agent_version),
            ("engine", self.board.engine),
            ("engine_version", self.board.engine_version),
            ("kernel", self.kernel),
            ("model_name", "detector"),
            ("site", f"site-{self.site}"),
            ("target", self.board.target),
        )
