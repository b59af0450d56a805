"""Outages and broken surroundings: the real agent, a real broker, and a spool as a day without a broker leaves it."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.telemetry.measurements import PowerSample, Reading, ThermalSample
from device_agent.contract.topics import DeviceTopics
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from tests.integration.support import AgentProcess, Mosquitto, null_artifact, wait_until, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.integration.support import Line, Reader

DAY_WINDOWS = 8_640
"""Windows of ten seconds, which is the default."""
DAY_EVENTS = 24
LAST_OF_THE_DAY = 2 * DAY_WINDOWS + DAY_EVENTS
"""Number of its last message: 0 is the farewell's."""
NOON = 1_800_000_000.0
FAST = {"reconnect_min_seconds": 0.1, "reconnect_max_seconds": 0.3, "max_messages_per_second": 100_000.0}


def record_a_day(path: Path, *, max_messages: int) -> None:
    """Write what an agent records from one noon to the next, with the clock turned by hand."""
    uptime = 0.0

    def stamper(boot_id: str) -> Stamper:
        return Stamper(
            boot_id=boot_id,
            wall_seconds=lambda: NOON + uptime,
            monotonic_seconds=lambda: uptime,
            synchronized=lambda: True,
        )

    limits = SpoolLimits(max_bytes=64 << 20, max_rows=max_messages, memory_max_bytes=1 << 20)
    with contextlib.closing(Spool(path, limits)) as spool:
        recorder = Recorder(
            spool=spool,
            stamper=stamper("day"),
            topics=DeviceTopics("dev-1"),
            payload_max_bytes=16_384,
            local_stamper=stamper("local"),
        )
        for window in range(DAY_WINDOWS):
            uptime = window * 10.0
            for sample, name in ((ThermalSample, "cpu_celsius"), (PowerSample, "board_watts")):
                value = Reading(
                    name=name, value=window / 100, source="hwmon", scope="board", quality="sampled"
                )
                recorder.measurement(sample(envelope=recorder.next_envelope(), readings=(value,)))
            if window % (DAY_WINDOWS // DAY_EVENTS) == 0:
                recorder.event("reconnect_failed", "warning", f"window {window}")


def of_the_day(lines: Iterable[Line], ending: str) -> Counter[int]:
    """Return how often each number was heard."""
    return Counter(
        line.body["seq"] for line in lines if line.topic.endswith(ending) and line.body["boot_id"] == "day"
    )


def test_a_day_without_a_broker_is_replayed_whole_though_broker_and_agent_die_meanwhile(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    record_a_day(tmp_path / "spool" / "spool.db", max_messages=200_000)
    mosquitto.start()
    reader = listen(mosquitto.port)
    heard = tmp_path / "heard-0"
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        mqtt=FAST,
        telemetry={"interval_seconds": 3600.0},
        spool={"drain_timeout_seconds": 60.0},
    )

    def wait_for_messages(least: int) -> None:
        wait_until(lambda: heard.read_bytes().count(b'"day"') >= least, what=f"{least} messages", seconds=120)

    with AgentProcess(config) as agent:
        wait_for_messages(3_000)
        mosquitto.stop()
        time.sleep(0.5)
        mosquitto.start()
        wait_for_messages(6_000)
        agent.stop(signal.SIGKILL)
    with AgentProcess(config) as agent:
        wait_for_messages(2 * DAY_WINDOWS + DAY_EVENTS)
        assert agent.stop() == 0  # it waits until the spool is empty
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down" and line.body["seq"] == 0)
    reader.close()
    lines = reader.lines()
    assert len(of_the_day(lines, "/e/reconnect_failed")) == DAY_EVENTS
    assert not reader.about("/e/telemetry_lost")
    for kind in ("/m/thermal", "/m/power"):
        assert len(of_the_day(lines, kind)) == DAY_WINDOWS
    day = [line for line in lines if "boot_id" in line.body and line.key[0] == "day"]
    again = len(day) - len({line.key for line in day})
    # Twice comes only what was in flight, or acknowledged and not yet deleted, when one of them died: the same to the byte.
    assert again < len(day) / 20
    assert len({line.payload for line in day}) == len({line.key for line in day})


def test_a_full_spool_loses_the_oldest_measurements_and_as_many_as_it_says(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    room = 3_000
    record_a_day(tmp_path / "spool" / "spool.db", max_messages=room)
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        mqtt=FAST,
        telemetry={"interval_seconds": 3600.0},
        spool={"max_messages": room},
    )
    with AgentProcess(config) as agent:
        reader.wait_for("/e/telemetry_lost")
        newest = b'"seq":%d,' % LAST_OF_THE_DAY
        wait_until(lambda: newest in (tmp_path / "heard-0").read_bytes(), what="the newest measurement")
        assert agent.stop() == 0
    reader.close()
    lines = reader.lines()
    assert len(of_the_day(lines, "/e/reconnect_failed")) == DAY_EVENTS
    kept = sorted(of_the_day(lines, "/m/thermal") + of_the_day(lines, "/m/power"))
    everything = sorted(set(range(1, LAST_OF_THE_DAY + 1)) - set(of_the_day(lines, "/e/reconnect_failed")))
    assert kept == everything[-len(kept) :], "what is kept is the newest"
    told = [line.body["details"] for line in reader.about("/e/telemetry_lost")]
    with contextlib.closing(
        Spool(
            tmp_path / "spool" / "spool.db",
            SpoolLimits(max_bytes=1 << 20, max_rows=room, memory_max_bytes=1 << 16),
        )
    ) as spool:
        lost, not_told = spool.lost_total, spool.unreported_loss
    assert lost.measurements == 2 * DAY_WINDOWS - len(kept)
    assert sum(one["measurements"] for one in told) + not_told.measurements == lost.measurements
    assert lost.events == lost.results == 0


class HalfOpen:
    """A way to the broker that can fall silent without a word to either side, as a radio link does."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._silent: set[socket.socket] = set()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._ended = threading.Event()
        self._falls_silent = threading.Event()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0

    def fall_silent(self) -> None:
        """Carry nothing more over the connections that there are; new ones are carried."""
        self._falls_silent.set()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for end in (*self._peers, self._listener):
            end.close()
        self._selector.close()

    def _carry(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._pass_on(key.fileobj)
            if self._falls_silent.is_set():
                for end in self._peers:
                    with contextlib.suppress(KeyError, ValueError):
                        self._selector.unregister(end)
                self._falls_silent.clear()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target))
        self.connections += 1
        for one, other in ((near, far), (far, near)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(1 << 16)
        if data:
            with contextlib.suppress(OSError):
                self._peers[end].sendall(data)
            return
        self._selector.unregister(end)
        with contextlib.suppress(OSError):
            self._peers[end].shutdown(socket.SHUT_WR)


@pytest.fixture
def half_open(mosquitto: Mosquitto) -> Iterator[HalfOpen]:
    link = HalfOpen(mosquitto.start().port)
    yield link
    link.close()


def test_a_link_that_falls_silent_without_a_word_is_noticed_and_loses_nothing(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto, half_open: HalfOpen
) -> None:
    reader = listen(mosquitto.port)
    config = write_config(
        tmp_path,
        half_open.port,
        null_artifact(tmp_path / "a.ewa"),
        mqtt={"ack_timeout_seconds": 1.0},
    )
    with AgentProcess(config) as agent:
        wait_until(lambda: len(reader.about("/m/inference")) >= 3, what="windows")
        half_open.fall_silent()
        link = reader.wait_for("/e/reconnected")
        count = len(reader.about("/m/inference"))
        wait_until(lambda: len(reader.about("/m/inference")) >= count + 3, what="windows after")
        assert agent.stop() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down" and line.body["seq"] == 0)
    reader.close()
    assert half_open.connections >= 2
    assert "no acknowledgement within 1 s" in agent.log, link
    require_whole(reader)


def require_whole(reader: Reader) -> None:
    """Hold the windows against the totals: none is missing."""
    windows = {line.body["seq"]: line.body for line in reader.about("/m/inference")}
    in_order = [windows[seq] for seq in sorted(windows)]
    assert sum(window["latency_count"] for window in in_order) == in_order[-1]["inferences_total"]


CLOCK = """
import os, time
_real = time.time
def _set():
    if os.path.exists({jumped!r}):
        return _real() + {jump}
    return _real() if os.path.exists({told!r}) else time.monotonic()
time.time = _set
"""


@pytest.mark.parametrize(
    ("jump", "after"), [(-3 * 31_536_000.0, "floor"), (5 * 31_536_000.0, "unsynced")], ids=["back", "on"]
)
def test_a_clock_that_begins_in_1970_and_jumps_by_years_bends_no_figure(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto, jump: float, after: str
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    told, jumped = tmp_path / "told", tmp_path / "jumped"
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config, prelude=CLOCK.format(told=str(told), jumped=str(jumped), jump=jump)) as agent:
        reader.wait_for("/m/inference", lambda line: line.body["clock"] == "floor")
        told.touch()
        reader.wait_for("/m/inference", lambda line: line.body["clock"] != "floor")
        jumped.touch()
        count = len(reader.about("/m/inference"))
        wait_until(lambda: len(reader.about("/m/inference")) >= count + 4, what="windows after the jump")
        assert agent.stop() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    require_whole(reader)
    windows = sorted((line.body for line in reader.about("/m/inference")), key=lambda body: body["seq"])
    uptimes = [window["uptime_seconds"] for window in windows]
    assert uptimes == sorted(uptimes)
    assert windows[-1]["clock"] in (after, after.removeprefix("un"))
    for window, before, now in zip(windows[1:-1], uptimes, uptimes[1:], strict=False):
        # Windows are of monotonic time: they fit between the messages, whatever the clock on the wall did.
        assert window["window_seconds"] == pytest.approx(now - before, abs=0.2)


@pytest.mark.parametrize(
    ("options", "cause"),
    [("ro,size=1m", "unable to open"), ("size=96k", "full")],
    ids=["a read-only disk", "a disk with room for next to nothing"],
)
def test_a_disk_that_takes_nothing_costs_no_message_while_the_agent_runs(
    tmp_path: Path,
    listen: Callable[..., Reader],
    mosquitto: Mosquitto,
    options: str,
    cause: str,
) -> None:
    (tmp_path / "spool").mkdir()
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        telemetry={"interval_seconds": 0.1},
        results={"mqtt": True, "max_rate_hz": 50.0},
    )
    mounting = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    before = ("unshare", "--map-root-user", "--mount", "sh", "-c", mounting, str(tmp_path / "spool"))
    with AgentProcess(config, before=before) as agent:
        agent.wait_for_log("spool_in_memory")
        time.sleep(1.0)
        agent.process.send_signal(signal.SIGSTOP)  # or it may connect and tell before the reader listens
        mosquitto.start()
        reader = listen(mosquitto.port)
        agent.process.send_signal(signal.SIGCONT)
        reader.wait_for("/e/spool_in_memory")
        count = len(reader.about("/m/inference"))
        wait_until(lambda: len(reader.about("/m/inference")) >= count + 5, what="windows")
        assert agent.stop() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down" and line.body["seq"] == 0)
    reader.close()
    assert cause in agent.log
    windows = {line.body["seq"]: line.body for line in reader.about("/m/inference")}
    # What a disk took before it was full is on it, and it never comes back here: the rest has no gap.
    in_order = [windows[seq] for seq in sorted(windows)]
    told = in_order[-1]["inferences_total"] - in_order[0]["inferences_total"]
    assert sum(window["latency_count"] for window in in_order[1:]) == told
    assert not reader.about("/e/telemetry_lost")
