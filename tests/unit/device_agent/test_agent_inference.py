"""The loop, the worker and results, with the null engine and small real arrays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import DeviceError, EngineError, StorageError
from device_agent.contract.manifest import PayloadTensor
from device_agent.contract.telemetry.codec import decode, encode
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.result import Raw, Result, Summary, TopK
from device_agent.engines.null import NullEngine
from device_agent.inference import InferenceLoop, LoopLimits, Meter, Pace
from device_agent.occurrences import Failed, Occurrence, SourceEnded, WorkerStopped
from device_agent.results import NonFiniteResultError, Outcome, ResultQueue, result_message
from device_agent.results_file import ResultsFile
from device_agent.sources.source import Frame
from device_agent.sources.source import SourceEnded as NoMoreFrames
from device_agent.sources.synthetic import SyntheticSource
from device_agent.startup import at_least
from device_agent.worker import StopEvent, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ENVELOPE = Envelope(time=1.8e9, boot_id="b", seq=1, uptime_seconds=1.0, clock="synced", artifact=None)


def tensor(shape: tuple[int, ...], **changes: object) -> PayloadTensor:
    made = PayloadTensor(
        name="y",
        shape=shape,
        dtype="float32",
        scale=None,
        zero_point=None,
        source_name="logits",
        source_axes=tuple(range(len(shape))),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Frames:
    """A source of so many frames; None stands for "none came in time"."""

    dropped = refused = 0

    def __init__(self, script: Sequence[str | None]) -> None:
        self._script = list(script)

    def next(self, timeout_seconds: float) -> Frame | None:
        del timeout_seconds
        if not self._script:
            raise NoMoreFrames
        name = self._script.pop(0)
        return None if name is None else Frame(id=name, inputs=[np.zeros(1)])

    def close(self) -> None:
        """Nothing to close."""


class Picky(NullEngine):
    """Fails on the frames that are told."""

    def __init__(self, failing: set[int]) -> None:
        super().__init__(["x"], {"y": 4}, 0.0)
        self._failing, self._calls = failing, 0

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        self._calls += 1
        if self._calls in self._failing:
            raise EngineError(f"call {self._calls} fails.")
        return super().infer(inputs)


def loop_of(
    engine: NullEngine,
    source: Frames | SyntheticSource,
    meter: Meter,
    *,
    results: ResultQueue | None = None,
    stopping: StopEvent | None = None,
    rate_hz: float = 0.0,
    max_frames: int = 0,
    most_errors: int = 3,
) -> InferenceLoop:
    return InferenceLoop(
        engine=engine,
        source=source,
        meter=meter,
        results=results,
        limits=LoopLimits(rate_hz=rate_hz, max_frames=max_frames, max_consecutive_errors=most_errors),
        stopping=stopping or StopEvent(),
    )


# --- the loop ---


def test_every_frame_is_inferred_and_counted() -> None:
    meter = Meter()
    reason = loop_of(Picky(set()), Frames(["a", None, "b", "c"]), meter).run()
    window = meter.close_window()
    assert reason == "the source has no more frames, after 3 inferences"
    assert (window.inferences_total, window.latencies.count, window.errors) == (3, 3, 0)


def test_it_stops_after_so_many_frames() -> None:
    meter = Meter()
    source = SyntheticSource([tensor((1, 4))], as_arrays=False)
    reason = loop_of(NullEngine(["x"], {"y": 4}, 0.0), source, meter, max_frames=5).run()
    assert reason == "5 frames were inferred, as source.max_frames says"
    assert meter.inferences_total == 5


def test_a_failed_inference_is_counted_apart_and_the_loop_goes_on() -> None:
    meter = Meter()
    loop_of(Picky({2, 3, 5}), Frames(list("abcdef")), meter).run()
    window = meter.close_window()
    assert (window.inferences_total, window.errors_total, window.errors) == (3, 3, 3)
    assert window.last_error == "call 5 fails."
    assert meter.close_window().errors == 0


def test_too_many_failures_in_a_row_end_it_with_the_last_reason() -> None:
    with pytest.raises(EngineError, match=r"3 inferences failed in a row, the last one with: call 4 fails"):
        loop_of(Picky({2, 3, 4}), Frames(list("abcdef")), Meter()).run()


def test_a_stop_is_seen_between_frames_and_is_no_reason() -> None:
    stopping = StopEvent()
    stopping.set()
    meter = Meter()
    assert loop_of(Picky(set()), Frames(list("abc")), meter, stopping=stopping).run() == ""
    assert meter.inferences_total == 0


def test_a_rate_is_kept_and_lost_time_is_not_made_up_for() -> None:
    meter = Meter()
    source = SyntheticSource([tensor((1, 4))], as_arrays=False)
    began = time.monotonic()
    loop_of(NullEngine(["x"], {"y": 4}, 0.0), source, meter, rate_hz=100.0, max_frames=21).run()
    assert 0.19 <= time.monotonic() - began < 20.0


def test_a_stop_ends_the_wait_for_the_next_turn() -> None:
    stopping, meter = StopEvent(), Meter()
    source = SyntheticSource([tensor((1, 4))], as_arrays=False)
    loop = loop_of(NullEngine(["x"], {"y": 4}, 0.0), source, meter, rate_hz=0.01, stopping=stopping)

    def stop() -> None:
        wait_for(lambda: meter.inferences_total == 1)
        stopping.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    began = time.monotonic()
    assert loop.run() == ""
    assert time.monotonic() - began < 60, "the next turn is in 100 s"
    assert meter.inferences_total == 1
    stopper.join()


def test_a_pace_is_changed_paused_and_left_while_the_loop_runs() -> None:
    meter, stopping = Meter(), StopEvent()
    source = SyntheticSource([tensor((1, 4))], as_arrays=False)
    pace = Pace(0.0, stopping)
    loop = InferenceLoop(
        engine=NullEngine(["x"], {"y": 4}, 0.0), source=source, meter=meter, results=None, stopping=stopping, pace=pace,
        limits=LoopLimits(rate_hz=0.0, max_frames=0, max_consecutive_errors=3),
    )  # fmt: skip
    pace.leave()
    assert loop.run() == ""
    assert meter.inferences_total == 0
    pace.hold(None, paused=True)
    thread = threading.Thread(target=loop.run)
    thread.start()
    time.sleep(0.3)
    assert meter.inferences_total == 0
    pace.hold(0.001, paused=False)  # the first turn is due at once, the next in a quarter of an hour
    wait_for(lambda: meter.inferences_total == 1)
    pace.hold(None, paused=False)
    wait_for(lambda: meter.inferences_total > 100)
    pace.hold(0.001, paused=False)
    pace.leave()
    thread.join(60)
    assert not thread.is_alive()
    assert not pace.is_free
    pace.hold(None, paused=False)
    assert pace.is_free


def wait_for(claim: Callable[[], bool]) -> None:
    until = time.monotonic() + 60.0
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_windows_taken_while_inferring_lose_and_double_nothing() -> None:
    meter, stopping = Meter(), StopEvent()
    source = SyntheticSource([tensor((1, 4))], as_arrays=False)
    loop = loop_of(NullEngine(["x"], {"y": 4}, 0.0), source, meter, stopping=stopping)
    thread = threading.Thread(target=loop.run)
    thread.start()
    counted = windows = 0
    while counted <= 1000 or windows <= 1000:  # however long that takes
        counted += meter.close_window().latencies.count
        windows += 1
    stopping.set()
    thread.join()
    last = meter.close_window()
    assert counted + last.latencies.count == last.inferences_total


# --- the worker ---


def reports_until_the_end(reports: SimpleQueue[Occurrence]) -> list[Occurrence]:
    seen = [reports.get(timeout=60)]
    while seen[-1] != WorkerStopped():
        seen.append(reports.get(timeout=60))
    return seen


def failing(error: Exception) -> Occurrence:
    raise error


def test_steps_run_in_order_and_report_what_they_give(caplog: pytest.LogCaptureFixture) -> None:
    reports: SimpleQueue[Occurrence] = SimpleQueue()
    worker = Worker(reports.put)
    worker.submit(lambda: SourceEnded("one"))
    worker.submit(lambda: None)
    worker.submit(lambda: failing(DeviceError("the disk", hint="Look.")))
    worker.submit(lambda: failing(KeyError("x")))
    worker.submit(lambda: SourceEnded("two"))
    for expected in (
        SourceEnded("one"),
        Failed(code="device", message="the disk. Look."),
        Failed(code="unexpected", message="KeyError: 'x'"),
        SourceEnded("two"),
    ):
        assert reports.get(timeout=60) == expected
    worker.stop()
    worker.stop()
    assert reports_until_the_end(reports) == [WorkerStopped()]
    assert worker.join(60)
    (fault,) = (
        caplog.records
    )  # what the agent refuses has no trace; what nobody foresaw has, at every level of the log
    assert fault.levelname == "ERROR"
    assert fault.exc_info is not None
    assert fault.exc_info[0] is KeyError


def test_a_step_sees_that_it_is_to_stop_and_none_follows() -> None:
    reports: SimpleQueue[Occurrence] = SimpleQueue()
    worker = Worker(reports.put)

    def until_stopped() -> Occurrence | None:
        assert worker.stopping.wait(60)
        return None

    worker.submit(until_stopped)
    worker.submit(lambda: SourceEnded("never"))
    assert not worker.join(0.05)
    worker.stop()
    assert reports_until_the_end(reports) == [WorkerStopped()]


# --- results ---


def queue_of(*, size: int = 4, max_rate_hz: float = 0.0) -> tuple[ResultQueue, list[int]]:
    woken: list[int] = []
    return ResultQueue(size=size, max_rate_hz=max_rate_hz, wake=lambda: woken.append(1)), woken


def test_a_full_queue_drops_the_new_and_counts_and_wakes_once() -> None:
    queue, woken = queue_of(size=2)
    for number in range(5):
        queue.offer(str(number), 10, [np.zeros(1)], now_ns=number)
    assert (queue.dropped, len(woken)) == (3, 1)
    taken = [queue.take(), queue.take(), queue.take()]
    assert [outcome.frame if outcome else None for outcome in taken] == ["0", "1", None]
    queue.offer("5", 10, [np.zeros(1)], now_ns=5)
    assert len(woken) == 2


def test_outputs_are_copied_because_the_engine_writes_over_them() -> None:
    queue, _ = queue_of()
    output = np.array([1.0, 2.0], np.float32)
    queue.offer("a", 10, [output], now_ns=0)
    output[:] = 9
    outcome = queue.take()
    assert outcome is not None
    assert np.array_equal(outcome.outputs[0], [1.0, 2.0])


def test_results_are_sampled_at_their_rate() -> None:
    queue, _ = queue_of(size=1000, max_rate_hz=10.0)
    meter = Meter()
    engine = NullEngine(["x"], {"y": 4}, 0.001)
    source = SyntheticSource([tensor((1,))], as_arrays=False)
    began = time.monotonic()
    loop_of(engine, source, meter, results=queue, max_frames=300).run()
    seconds = time.monotonic() - began  # at least 0.3, and as many more as the machine takes
    count = 0
    while queue.take() is not None:
        count += 1
    assert 3 <= count <= 1 + 10.0 * seconds
    assert queue.dropped == 0


def test_each_inference_is_in_one_window_whoever_counts() -> None:
    meter, total = Meter(), 50_000

    def infer() -> None:
        for number in range(1, total + 1):
            meter.inferred(number)
            if number >= meter.due:
                meter.attend([], number)

    inferring = threading.Thread(target=infer)
    inferring.start()
    found = sums = 0
    while found < total:
        before = meter.inferences_total
        window = meter.close_window()
        assert before <= window.inferences_total <= meter.inferences_total
        found, sums = found + window.latencies.count, sums + window.latencies.sum_ns
        assert window.inferences_total == found
    inferring.join()
    assert (found, sums, meter.inferences_total) == (total, total * (total + 1) // 2, total)


class Watching(SyntheticSource):
    """Sees before every frame how many durations wait to be counted."""

    def __init__(self, meter: Meter) -> None:
        super().__init__([tensor((1,))], as_arrays=False)
        self.meter = meter
        self.most_waiting = 0

    def next(self, timeout_seconds: float) -> Frame | None:
        self.most_waiting = max(self.most_waiting, len(self.meter._uncounted))
        return super().next(timeout_seconds)


def test_durations_do_not_pile_up_until_a_window_is_closed() -> None:
    meter = Meter()
    source = Watching(meter)
    loop_of(NullEngine(["x"], {"y": 4}, 0.0), source, meter, max_frames=1000).run()
    assert 0 < source.most_waiting <= 256
    assert meter.inferences_total == meter.close_window().latencies.count == 1000


def test_no_outcome_is_left_behind_without_a_wake() -> None:
    woken = threading.Semaphore(0)
    queue = ResultQueue(size=10_000_000, max_rate_hz=0.0, wake=woken.release)
    output = np.zeros(1)
    total = 30_000

    def produce() -> None:
        for number in range(total):
            queue.offer("f", 1, [output], now_ns=number)

    producer = threading.Thread(target=produce)
    producer.start()
    taken = 0
    while taken < total:
        assert woken.acquire(timeout=60), f"asleep with {total - taken} outcomes to come"
        while queue.take() is not None:
            taken += 1
    producer.join()
    assert taken == total


def described(values: NDArray[np.generic], made: PayloadTensor, *, top_k: int = 3, raw: int = 4) -> Result:
    outcome = Outcome("frame", 0.5, [values])
    result = result_message(lambda: ENVELOPE, outcome, [made], top_k=top_k, raw_max_values=raw)
    assert decode(Result, encode(result), where="test") == result
    return result


def test_small_outputs_are_given_whole_in_real_units_and_the_models_layout() -> None:
    codes = np.array([[[[1, 2]]]], np.int8)  # NHWC (1, 1, 1, 2) of NCHW (1, 2, 1, 1)
    made = tensor((1, 1, 1, 2), dtype="int8", scale=0.5, zero_point=-1, source_axes=(0, 2, 3, 1))
    (output,) = described(codes, made).outputs
    assert output == Raw(name="logits", shape=(1, 2, 1, 1), values=(1.0, 1.5))


@given(st.lists(st.integers(-5, 5), min_size=5, max_size=40), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_larger_ones_by_their_largest_values_ties_by_index(values: list[int], top_k: int) -> None:
    array = np.array([values], np.float32)
    (output,) = described(array, tensor(array.shape), top_k=top_k).outputs
    assert isinstance(output, TopK)
    expected = sorted(range(len(values)), key=lambda index: (-values[index], index))[:top_k]
    assert sorted(output.values, reverse=True) == list(output.values)
    assert [values[index] for index in output.indices] == [values[index] for index in expected]
    assert len(set(output.indices)) == len(output.indices)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_no_number_is_an_error_of_its_own(broken: float) -> None:
    with pytest.raises(NonFiniteResultError, match=r"frame 'frame', output 'logits': 1 of 6 values"):
        described(np.array([[1, 2, broken, 4, 5, 6]], np.float32), tensor((1, 6)))


def test_the_null_engines_buffers_are_summed_up() -> None:
    queue, _ = queue_of()
    queue.offer("zeros", 10, NullEngine(["x"], {"y": 40}, 0.0).infer([np.zeros(1)]), now_ns=0)
    outcome = queue.take()
    assert outcome is not None
    (output,) = result_message(
        lambda: ENVELOPE, outcome, [tensor((1, 10))], top_k=3, raw_max_values=4
    ).outputs
    assert output == Summary(name="logits", shape=(1, 10), minimum=0.0, maximum=0.0, mean=0.0)


# --- the results file ---


def test_lines_are_appended_and_the_file_turned_over_when_full(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "new" / "r.jsonl", max_bytes=30)
    for number in range(10):
        file.write([b'{"n": %d}' % number])
    file.close()
    file.close()
    kept = (tmp_path / "new" / "r.jsonl").read_text().splitlines()
    older = (tmp_path / "new" / "r.jsonl.1").read_text().splitlines()
    assert [json.loads(line)["n"] for line in older + kept] == [3, 4, 5, 6, 7, 8, 9][-len(older + kept) :]
    assert (tmp_path / "new" / "r.jsonl").stat().st_size <= 30


def test_a_restart_appends(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        file = ResultsFile(tmp_path / "r.jsonl", max_bytes=1000)
        file.write([text])
        file.close()
    assert (tmp_path / "r.jsonl").read_bytes() == b"a\nb\n"


@pytest.mark.parametrize("goes", ["moved", "removed", "with its folder"])
def test_a_file_that_is_moved_away_or_removed_is_begun_anew(tmp_path: Path, goes: str) -> None:
    path = tmp_path / "folder" / "r.jsonl"
    file = ResultsFile(path, max_bytes=1000)
    file.write([b"a"])
    if goes == "moved":
        path.rename(tmp_path / "a")
    elif goes == "removed":
        path.unlink()
    else:
        path.parent.rename(tmp_path / "aside")
    file.write([b"b"])
    file.write([b"c"])
    file.close()
    assert path.read_bytes() == b"b\nc\n"


def test_half_a_line_that_a_power_cut_left_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": ')
    file = ResultsFile(path, max_bytes=1000)
    file.write([b'{"n": 3}'])
    file.write([b'{"n": 4}'])
    file.close()
    assert path.read_bytes() == b'{"n": 1}\n{"n": \n{"n": 3}\n{"n": 4}\n'


def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("in the way")
    file = ResultsFile(tmp_path / "way" / "r.jsonl", max_bytes=1000)
    with pytest.raises(StorageError, match=r"results\.jsonl: .*cannot be written"):
        file.write([b"a"])
    (tmp_path / "way").unlink()
    file.write([b"b"])
    file.close()
    assert (tmp_path / "way" / "r.jsonl").read_bytes() == b"b\n"


def test_a_pipe_that_nobody_reads_holds_nothing_up_and_gets_no_half_of_a_line(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    file = ResultsFile(pipe, max_bytes=1000)
    with pytest.raises(
        StorageError, match=r"cannot be written: No such device or address\. Does somebody read it\?"
    ):
        file.write([b"nobody has opened it"])
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    taken, lines = [], [b"%06d" % number + b"x" * 10_000 for number in range(40)]
    for line in lines[:20]:
        try:
            file.write([line])
        except StorageError as error:
            assert "who reads it is too slow, or has stopped" in str(error)
        else:
            taken.append(line)
    assert 0 < len(taken) < 20, "a pipe holds 64 KiB at most"
    heard = b""
    for line in lines[20:]:
        heard += os.read(reader, 1 << 20)
        file.write([line])
        taken.append(line)
    file.close()
    while piece := os.read(reader, 1 << 20):
        heard += piece
    os.close(reader)
    assert heard.splitlines() == taken


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from device_agent.contract.errors import StorageError
from device_agent.results_file import ResultsFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
file = ResultsFile(Path(sys.argv[1]), max_bytes=1 << 20)
file.write([b"x" * 600])
try:
    file.write([b"y" * 300, b"z" * 300])
except StorageError as error:
    print(error)
file.write([b"w" * 100])
"""


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=30, check=True
    )
    assert "File too large" in done.stdout
    assert [set(line) for line in path.read_text().splitlines()] == [{"x"}, {"w"}]


def test_who_closes_standard_output_is_told_apart_from_a_full_disk() -> None:
    code = (
        "import sys; from pathlib import Path; from device_agent.results_file import ResultsFile\n"
        "from device_agent.contract.errors import StorageError\n"
        "sys.stdin.read()\n"
        "try: ResultsFile(Path('-'), max_bytes=4096).write([b'{}'])\n"
        "except StorageError as error: print(error, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.close()
        _, told = writer.communicate(timeout=60)
    said = b"results.jsonl: standard output: cannot be written: Broken pipe. Does somebody read it?\n"
    assert told == said


def test_standard_output_is_a_file_too() -> None:
    code = (
        "from pathlib import Path; from device_agent.results_file import ResultsFile; "
        "file = ResultsFile(Path('-'), max_bytes=4096); file.write([b'{}', b'[]']); file.close(); file.write([b'0'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"{}\n[]\n0\n"


# --- versions ---


@pytest.mark.parametrize(
    ("found", "wanted", "enough"),
    [
        ("1.10.0", "1.9", True),
        ("1.9", "1.10.0", False),
        ("1.2", "1.2.0", True),
        ("1.2.0", "1.2", True),
        ("2.14.0rc1+cpu", "2.14", True),
        ("2026.4.1", "2024.4", True),
        ("0.1.0", "0.1.1", False),
        ("", "1.0", False),
        ("dev", "0.0", True),
    ],
)
def test_versions_are_compared_part_by_part_as_numbers(found: str, wanted: str, *, enough: bool) -> None:
    assert at_least(found, wanted) is enough


def test_the_number_of_descriptors_does_not_grow(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = ResultsFile(tmp_path / "r.jsonl", max_bytes=20)
    for _ in range(50):
        file.write([b"0123456789"])
    file.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
