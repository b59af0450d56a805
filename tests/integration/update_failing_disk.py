"""A device whose disk, a tmpfs, becomes full or read-only in the middle of an update, and is well again after a while.

Run as a program in a mount namespace of its own: ``python -m tests.integration.update_failing_disk URL ROOT DELIVERED WANTED DISK``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of_file
from device_agent.update import child, schedule, trial
from device_agent.update.state_file import StateFile
from device_agent.update.store import Store
from device_agent.update.updates import Updates
from tests.integration.update_within import Within, config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.config import AgentConfig
    from device_agent.update.state import Notice

Fault = Literal["full", "read-only"]
LONGEST_SECONDS = 60.0
TURNS = 25
"""So many turns of the loop the fault lasts: several attempts at whatever was under way."""
_REMOUNT, _READ_ONLY = 32, 1
"""Source: mount(2)."""


class Disk:
    """A tmpfs, and the places where it may fail.

    Args:
        folder: Where it is mounted.
        fault: What befalls it.
        at: At which place; 0: never.
    """

    def __init__(self, folder: Path, fault: Fault, at: int) -> None:
        self.passed = 0
        self.turns_left = 0
        self.fails = False
        self._folder, self._fault, self._at = folder, fault, at
        self._filler = folder / "filler"
        self._is_mounted_read_only = False

    def at(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        """Let the disk fail before an effect."""

        def placed(*arguments: Any) -> Any:
            self._pass()
            return effect(*arguments)

        return placed

    def turn(self) -> None:
        """Time passes."""
        self.turns_left -= 1
        if self.fails and self.turns_left <= 0:
            self.fails = False
            self._mend()

    def before(self, write: Callable[..., Any]) -> Callable[..., Any]:
        """Let the disk fail before something is made durable."""

        def placed(*arguments: Any, **options: Any) -> Any:
            self._pass()
            if self.fails and self._fault == "read-only" and not self._is_mounted_read_only:
                # A file was open for writing, which keeps a mount from becoming read-only; an ext4 that found an error does so.
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return write(*arguments, **options)

        return placed

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self._at:
            self.fails, self.turns_left = True, TURNS
            self._break()

    def _break(self) -> None:
        if self._fault == "full":
            with self._filler.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
            return
        self._is_mounted_read_only = self._remount(_REMOUNT | _READ_ONLY)

    def _mend(self) -> None:
        if self._fault == "full":
            self._filler.unlink()
        elif self._is_mounted_read_only:
            assert self._remount(_REMOUNT)

    def _remount(self, flags: int) -> bool:
        return ctypes.CDLL(None).mount(None, os.fsencode(self._folder), None, flags, None) == 0


@contextlib.contextmanager
def hooked(disk: Disk) -> Iterator[None]:
    """Let the disk fail before whatever makes a change durable."""
    fsync, replace = os.fsync, Path.replace
    os.fsync, Path.replace = disk.before(fsync), disk.before(replace)  # type: ignore[method-assign]
    try:
        yield
    finally:
        os.fsync, Path.replace = fsync, replace  # type: ignore[method-assign]


def be_the_device(config: AgentConfig, wanted: str, disk: Disk) -> set[str]:
    """Be the device until it has kept ``wanted``; return the names of what it told."""
    told: set[str] = set()
    deadline = time.monotonic() + LONGEST_SECONDS

    def tell(notice: Notice) -> None:
        told.add(notice.name)

    while time.monotonic() < deadline:
        children: Any = Within()
        restarts: list[str] = []
        updates = Updates(
            config, report=lambda _: None, tell=tell, restart=restarts.append, children=children
        )
        with contextlib.closing(updates):
            updates._actions = {kind: disk.at(action) for kind, action in updates._actions.items()}
            with hooked(disk):
                updates.begin()
                while not restarts and time.monotonic() < deadline:
                    updates.turn(time.monotonic())
                    while children.answers:
                        updates.handle(children.answers.pop(0))
                    updates.observed(inferences=10, errors=0, p95_seconds=0.001)
                    disk.turn()
                    state = updates._durable
                    done = state.main.known_good is not None and state.main.known_good.digest == wanted
                    if done and "update_committed" in told and not disk.fails:
                        return told
                    time.sleep(0.001)
            # What runs, whatever the disk does, is whole.
            ArtifactArchive.open(
                updates.models["main"].artifact.path, expected_digest=updates.models["main"].artifact.digest
            ).check_members()
    raise AssertionError(f"not kept in {LONGEST_SECONDS} s; told: {sorted(told)}")


def main() -> None:
    """Break the disk at every place of an update, once full and once read-only, and count."""
    url, root, delivered, wanted, folder = sys.argv[1:]
    disk_folder = Path(folder)
    schedule._FIRST_RETRY_SECONDS = 0.02  # type: ignore[misc]
    child.limit_memory_and_time = trial.limit_memory_and_time = lambda _: None  # type: ignore[assignment]

    def update(fault: Fault, at: int) -> tuple[Disk, set[str]]:
        device = disk_folder / "device"
        shutil.rmtree(device, ignore_errors=True)
        disk = Disk(disk_folder, fault, at)
        fleet: Any = SimpleNamespace(server=SimpleNamespace(url=url), root=Path(root))
        config = config_of(fleet, "dev-1", device, Path(delivered))
        told = be_the_device(config, wanted, disk)
        last: Any = Within()
        with contextlib.closing(
            Updates(config, report=lambda _: None, tell=lambda _: None, restart=lambda _: None, children=last)
        ) as updates:
            updates.begin()  # a start removes what could not be removed
        state = StateFile(device / "state.json").read()
        assert state.main.active == state.main.known_good is not None
        assert digest_of_file(Store(device / "store").path(wanted)) == wanted
        assert [path.name for path in (device / "store").iterdir()] == [
            Store(device / "store").path(wanted).name
        ]
        return disk, told

    places = update("full", 0)[0].passed
    assert places > 30, places
    postponed = 0
    for at in range(1, places + 1):
        _, told = update("full" if at % 2 else "read-only", at)
        postponed += "update_postponed" in told
    print(places, postponed)


if __name__ == "__main__":
    main()
