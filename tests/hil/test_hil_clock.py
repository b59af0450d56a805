"""Clocks that are put off or hurried, in processes that Python starts as an agent is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.drivers import clock_on_board
from hil.drivers.clock_on_board import HurriedClock, read_setting
from hil.drivers.shifted_clock import MOST_HURRIED, ShiftedClock
from hil.rigs.local import LocalFiles
from host_tools.errors import InputError

pytestmark = pytest.mark.timeout(300)

RATE = 50.0
WAITED = 10.0
WAITS = {
    "sleep": "time.sleep(10)",
    "queue": "swallow(lambda: SimpleQueue().get(timeout=10))",
    "old queue": "swallow(lambda: queue.Queue().get(timeout=10))",
    "event": "threading.Event().wait(10)",
    "select": "select.select([], [], [], 10)",
}
SCRIPT = """
import json, queue, select, threading, time
from queue import SimpleQueue
def swallow(call):
    try:
        call()
    except queue.Empty:
        pass
def took(call):
    true, told = time.perf_counter(), time.monotonic()
    call()
    return time.perf_counter() - true, time.monotonic() - told
waits = {waits}
print(json.dumps({{name: took(call) for name, call in waits.items()}}))
"""


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(LocalFiles(), str(tmp_path / "clock"))


def python(clock: ShiftedClock, script: str) -> Any:
    """Run a script as an agent is run, and return the JSON that it prints."""
    environment = {**os.environ, "PYTHONPATH": clock.folder}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_whatever_waits_by_a_hurried_clock_comes_sooner(clock: ShiftedClock) -> None:
    clock.hurry(RATE)
    waits = "{" + ", ".join(f"{name!r}: lambda: {call}" for name, call in WAITS.items()) + "}"
    for name, (true, told) in python(clock, SCRIPT.format(waits=waits)).items():
        assert told >= WAITED - 0.1, f"{name}: as long as was asked for, by its own clock"
        assert true == pytest.approx(told / RATE, rel=0.05, abs=0.01), name
        assert true < WAITED / 4, f"{name}: sooner, by the true one"


FOLLOWING = """
import json, sys, time
setting, rates = sys.argv[1], []
def rate():
    true, told = time.perf_counter(), time.monotonic()
    while time.perf_counter() < true + 0.1:
        pass
    return (time.monotonic() - told) / (time.perf_counter() - true)
def told(text):
    open(setting, "w").write(text)
    time.monotonic()
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        time.monotonic()
before = time.time() - time.clock_gettime(time.CLOCK_REALTIME)
for text in ("0.0 200.0", "0.0 1.0", "0.0 7.0", "-5000.0 1.0"):
    told(text)
    rates.append(rate())
print(json.dumps([rates, before, time.time() - time.clock_gettime(time.CLOCK_REALTIME)]))
"""


def test_a_process_that_began_hurried_follows_and_keeps_its_lead(clock: ShiftedClock) -> None:
    clock.hurry(2.0)
    setting = Path(clock.folder) / clock_on_board.SETTING
    script = FOLLOWING.replace("sys.argv[1]", repr(str(setting)))
    rates, before, after = python(clock, script)
    assert rates == pytest.approx([200.0, 1.0, 7.0, 1.0], rel=0.1)
    assert before == pytest.approx(0.0, abs=5.0)
    lead = after + 5000.0
    assert 0.1 * 200.0 * 0.5 < lead < 1000.0, (
        "what was gained in a hurry is kept, and the jump is on top of it"
    )


UNHURRIED = """
import _queue, json, queue, sys, threading, time
is_own = [queue.SimpleQueue is _queue.SimpleQueue, type(time.monotonic).__name__, type(time.sleep).__name__]
open({setting!r}, "w").write("100.0 500.0")
true, told = time.perf_counter(), time.monotonic()
threading.Event().wait(0.2)
print(json.dumps([is_own, time.perf_counter() - true, time.monotonic() - told, time.time() - time.clock_gettime(time.CLOCK_REALTIME)]))
"""


def test_a_process_that_did_not_begin_hurried_has_pythons_own_clocks_and_waits(clock: ShiftedClock) -> None:
    clock.jump(-86_400.0)
    setting = str(Path(clock.folder) / clock_on_board.SETTING)
    own, true, told, off = python(clock, UNHURRIED.format(setting=setting))
    assert own == [True, "builtin_function_or_method", "builtin_function_or_method"]
    assert told == pytest.approx(true, abs=0.05)
    assert true >= 0.2
    assert off == pytest.approx(100.0, abs=1.0), "a jump is followed at once"


WOKEN = """
import json, threading, time
from queue import SimpleQueue
queue, event = SimpleQueue(), threading.Event()
threading.Timer(20.0, lambda: (queue.put("it"), event.set())).start()
true = time.perf_counter()
got = queue.get(timeout=100000.0)
print(json.dumps([got, event.wait(100000.0), time.perf_counter() - true]))
"""


def test_who_waits_long_is_woken_when_there_is_something(clock: ShiftedClock) -> None:
    clock.hurry(RATE)
    got, is_set, true = python(clock, WOKEN)
    assert (got, is_set) == ("it", True)
    assert true < 10.0


def test_an_unreadable_setting_is_the_true_pace(clock: ShiftedClock) -> None:
    for text in (b"", b"x", b"1 2 y", b"\xff\x00"):
        Path(clock.folder, clock_on_board.SETTING).write_bytes(text)
        off = python(clock, "import time; print(time.time() - time.clock_gettime(time.CLOCK_REALTIME))")
        assert off == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize("rate", [0.0, 0.99, -1.0, MOST_HURRIED + 1, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused(clock: ShiftedClock, rate: float) -> None:
    with pytest.raises(
        InputError, match=r"hurry: expected 1 to 1000 seconds in a true one, got .*1 is the true pace"
    ):
        clock.hurry(rate)


def test_jump_and_hurry_keep_what_the_other_said(clock: ShiftedClock) -> None:
    setting = Path(clock.folder, clock_on_board.SETTING)
    clock.jump(-3.5)
    clock.hurry(20.0)
    assert setting.read_text() == "-3.5 20.0\n"
    clock.jump(0.0)
    assert setting.read_text() == "0.0 20.0\n"
    clock.hurry(1.0)
    assert setting.read_text() == "0.0 1.0\n"


@given(rates=st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=6), jump=st.floats(-1e6, 1e6))
@settings(max_examples=15, deadline=None)
def test_the_clock_never_goes_back_whatever_rates_follow_one_another(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float], jump: float
) -> None:
    folder = tmp_path_factory.mktemp("clock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock_on_board, "_FOLDER", folder)
        assert read_setting() == (0.0, 1.0)
        clock = HurriedClock(rates[0])
        told: list[list[float]] = [[], []]
        begin = time.monotonic(), clock.monotonic()
        is_over = threading.Event()

        def ask(own: list[float]) -> None:
            while not is_over.is_set():
                own.append(clock.monotonic())

        threads = [threading.Thread(target=ask, args=(own,)) for own in told]
        for thread in threads:
            thread.start()
        for rate in rates:
            (folder / clock_on_board.SETTING).write_text(f"{jump!r} {rate!r}\n")
            time.sleep(clock_on_board.LOOK_SECONDS * 1.5)
        is_over.set()
        for thread in threads:
            thread.join()
        true, gone = time.monotonic() - begin[0], clock.monotonic() - begin[1]
        assert read_setting() == (jump, rates[-1])
    for own in told:
        assert own == sorted(own)
    assert true * 0.99 <= gone <= true * max(rates) * 1.01
