"""`Chaos`: while a rollout goes on, programs are killed at random moments, as a power cut would, and started again.

How far a rollout comes between two kills depends on the machine. So that it is not over before the last, its stages wait to be let begin: each
does when its share of the kills has struck the one before it.
"""

from __future__ import annotations

import random
import shlex
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.fleet.protocol.stand import Stand

WORKER: Final = "ingest worker"
"""One of the processes that `ingest` has started, and starts again."""
PROGRAMS: Final = ("server", "broker", "ingest", WORKER)
DATABASE: Final = "database"
_LONGEST_PAUSE_SECONDS: Final = 3_600.0
_RESTART_SECONDS: Final = 120.0
_RESTART_HINT: Final = (
    "It is a command that kills the database and starts it again, like 'pg_ctl -D DATA -m immediate restart'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A program that was killed.

    Attributes:
        program: One of `PROGRAMS`, or `DATABASE`.
        stage: Place of the stage that ran.
        after_seconds: Since the rollout was submitted.
        down_seconds: Until it was there again; of a worker 0.0, since its own program starts it again.
    """

    program: str
    stage: int
    after_seconds: float
    down_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What is killed, and when.

    Every program in turn, in another random order each time, so that each is killed as often as the others, give or take one. With SQLite the
    server's process is the database's; PostgreSQL is restarted by a command.

    Attributes:
        seed: Decides what is drawn.
        kills: So many, shared out among all stages but the last.
        pause_seconds: Before each kill, on average, since a stage was let begin or a program was there again; from half of it to one and a half.
        restart_database: Kills the database and starts it again, such as `restarts_by`; None: it is left alone.
    """

    seed: int
    kills: int
    pause_seconds: float
    restart_database: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InputError: There would be less than one kill, or no pause, or one that nobody waits for.
        """
        if self.kills < 1 or not 0.0 < self.pause_seconds <= _LONGEST_PAUSE_SECONDS:
            raise InputError(
                f"chaos: expected one kill at least and a pause above 0 s and of {_LONGEST_PAUSE_SECONDS:g} s at most, "
                f"got {self.kills} and {self.pause_seconds:g} s."
            )

    def run(self, stand: Stand, stages: int, let_begin: Callable[[int], None]) -> tuple[Kill, ...]:
        """Let one stage begin after the other, and kill and start again what is due while each but the last runs.

        Args:
            stand: Everything that runs.
            stages: Of the rollout: two at least.
            let_begin: Lets a stage begin once the one before has passed; told its place.

        Raises:
            OutputError: Something does not come up again, or a stage does not begin.
        """
        drawn = random.Random(self.seed)
        order = self._order(drawn)
        done: list[Kill] = []
        began = time.monotonic()
        for stage in range(stages):
            let_begin(stage)
            first, end = (self.kills * place // (stages - 1) for place in (stage, stage + 1))
            for program in order[first:end]:
                time.sleep(self.pause_seconds * drawn.uniform(0.5, 1.5))
                struck = time.monotonic()
                self._kill(stand, program, drawn)
                down = 0.0 if program == WORKER else time.monotonic() - struck
                done.append(
                    Kill(program=program, stage=stage, after_seconds=struck - began, down_seconds=down)
                )
        return tuple(done)

    def _order(self, drawn: random.Random) -> list[str]:
        programs = PROGRAMS if self.restart_database is None else (*PROGRAMS, DATABASE)
        order: list[str] = []
        while len(order) < self.kills:
            order += drawn.sample(programs, len(programs))
        return order[: self.kills]

    def _kill(self, stand: Stand, program: str, drawn: random.Random) -> None:
        if self.restart_database is not None and program == DATABASE:
            self.restart_database()
        elif program == WORKER:
            stand.programs.kill_child("ingest", drawn)
        else:
            stand.programs.kill(program)
            stand.start(program)


def restarts_by(command: str) -> Callable[[], None]:
    """Return what restarts a database by a command.

    Raises:
        InputError: The command is none: its quotes are not closed, or it is empty.
        OutputError: When it is called: the command fails, or takes longer than two minutes.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--restart-database: {error}.", hint=_RESTART_HINT) from error
    if not words:
        raise InputError("--restart-database: expected a command, got none.", hint=_RESTART_HINT)

    def restart() -> None:
        nothing = subprocess.DEVNULL  # a pipe would be inherited by the database, and never end
        try:
            subprocess.run(
                words, check=True, timeout=_RESTART_SECONDS, stdin=nothing, stdout=nothing, stderr=nothing
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise OutputError(f"the database was not restarted: {error}.", hint=_RESTART_HINT) from error

    return restart
