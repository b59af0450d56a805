"""Three real agents, a real broker and a real repository: a trial reaches whom it is for, grows, and is taken back; the listener sees it."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.desired import DesiredArtifact, Trial
from device_agent.contract.digest import digest_of_file
from host_tools.fleet.field.listener import Listener, ListenerSettings
from host_tools.fleet.field.observations import Born, HealthTold, StateTold, UpdateTold
from host_tools.fleet.field.publisher import Publisher
from host_tools.fleet.rollout.wanted import Wanted
from host_tools.review.broker_address import parse_broker
from tests.integration.support import AgentProcess, null_artifact, wait_until
from tests.integration.update_repository import TARGET, Fleet, config_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from host_tools.fleet.field.observations import Said
    from tests.integration.support import Mosquitto

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

DEVICES = ("dev-1", "dev-2", "dev-3")
LONGEST_SECONDS = 150.0
ONCE = [
    ("download", "none", ""),
    ("downloaded", "none", ""),
    ("proceeding", "none", ""),
    ("closed", "success", ""),
]
"""What a device tells of an update that it keeps."""


class Ear:
    """A listener on a thread, and all that it was told."""

    def __init__(self, port: int, name: str = "test") -> None:
        self.said: list[Said] = []
        broker = parse_broker(f"mqtt://127.0.0.1:{port}")
        self.listener = Listener(ListenerSettings(broker=broker, name=name), self.take)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.listener.run, args=(self._stop,))
        self._thread.start()

    def take(self, said: Sequence[Said]) -> None:
        self.said += said

    def states(self) -> dict[str, StateTold]:
        """Return what each device said last of what it follows."""
        return {one.device: one for one in self.said if isinstance(one, StateTold)}

    def updates(self, device: str) -> list[tuple[str, str, str]]:
        """Return state, result and code of a device's updates, each message once."""
        found = {
            (one.boot_id, one.seq): (one.state, one.result, one.code)
            for one in self.said
            if isinstance(one, UpdateTold) and one.device == device
        }
        return list(found.values())

    def close(self) -> None:
        self._stop.set()
        self._thread.join(60)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "fleet")
    yield made
    made.server.close()


def released(fleet: Fleet, path: Path, counter: int) -> DesiredArtifact:
    name = fleet.repository.add(path, release_counter=counter)
    return DesiredArtifact(path=name, digest=digest_of_file(path))


def wanted(base: DesiredArtifact | None, trial: Trial | None = None) -> Wanted:
    artifacts = {} if base is None else {TARGET: base}
    return Wanted(artifacts=artifacts, trial=trial, allow_downgrade=False)


def test_a_trial_reaches_whom_it_is_for_grows_and_is_taken_back(
    fleet: Fleet, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    mosquitto.start()
    paths = [null_artifact(tmp_path / f"m-{number}.ewa", latency_seconds=0.001 * number) for number in (1, 2)]
    base, candidate = (released(fleet, path, number) for number, path in enumerate(paths, 1))
    delivered = null_artifact(tmp_path / "delivered.ewa", latency_seconds=0.004)
    publisher = Publisher(fleet.repository)
    publisher.publish("lab", wanted(base))
    ear = Ear(mosquitto.port)

    def wait_for(wanted: dict[str, str], serial: int) -> None:
        def runs() -> bool:
            states = ear.states()
            return all(
                device in states
                and (states[device].artifact, states[device].on_probation) == (digest, False)
                and states[device].desired_serial == serial
                for device, digest in wanted.items()
            )

        wait_until(runs, what=f"{wanted} at {serial}: {ear.states()}", seconds=LONGEST_SECONDS)

    with contextlib.ExitStack() as stack:
        stack.callback(ear.close)
        for device in DEVICES:
            config = config_of(fleet, tmp_path / device, device, mosquitto.port, delivered)
            stack.enter_context(AgentProcess(config))
        wait_for(dict.fromkeys(DEVICES, base.digest), 1)

        trial = Trial(artifacts={TARGET: candidate}, salt="r1", share_ppm=0, devices=("dev-2",))
        for _ in range(2):
            publisher.publish("lab", wanted(base, trial))
        wait_for({"dev-1": base.digest, "dev-2": candidate.digest, "dev-3": base.digest}, 2)
        assert [ear.states()[device].in_trial for device in DEVICES] == [False, True, False]
        assert {one.group for one in ear.states().values()} == {"lab"}
        assert {one.targets for one in ear.states().values()} == {(TARGET,)}

        publisher.publish("lab", wanted(base, replace(trial, share_ppm=1_000_000, devices=())))
        wait_for(dict.fromkeys(DEVICES, candidate.digest), 3)
        assert all(one.in_trial for one in ear.states().values())

        publisher.publish("lab", wanted(base))
        wait_for(dict.fromkeys(DEVICES, base.digest), 4)
        assert {one.counter_floor for one in ear.states().values()} == {2}
        wait_until(
            lambda: all(len(ear.updates(device)) >= 3 * len(ONCE) for device in DEVICES),
            what="each device's last words of its updates",
            seconds=LONGEST_SECONDS,
        )

    for device in DEVICES:
        assert ear.updates(device) == 3 * ONCE, "the first release, the trial, and back; no job twice"
    assert {one.device for one in ear.said if isinstance(one, Born)} == set(DEVICES)
    assert {one.health for one in ear.said if isinstance(one, HealthTold)} >= {"up"}
    assert ear.listener.refused == 0


def test_a_listener_that_comes_later_hears_what_the_fleet_is(
    fleet: Fleet, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    mosquitto.start()
    delivered = null_artifact(tmp_path / "delivered.ewa")
    config = config_of(fleet, tmp_path / "dev-1", "dev-1", mosquitto.port, delivered)
    with AgentProcess(config) as agent:
        agent.wait_for_log("engine_loaded")
        for _ in range(2):  # with a session that is new, and with one that was there
            ear = Ear(mosquitto.port)
            try:
                wait_until(
                    lambda heard=ear: (  # type: ignore[misc]
                        {type(one) for one in heard.said} >= {Born, HealthTold, StateTold}
                        and heard.states()["dev-1"].artifact == digest_of_file(delivered)
                    ),
                    what="what is retained",
                )
            finally:
                ear.close()
            state = ear.states()["dev-1"]
            assert (state.desired_serial, state.desired, state.in_trial) == (0, None, False)
        assert agent.stop() == 0
