"""What every source promises, held against each of them, and what only some do: answers, back-pressure, watching, a camera."""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from device_agent.answers import Answers
from device_agent.config import ResultsSection
from device_agent.contract.errors import DeviceError
from device_agent.sources import http as http_module
from device_agent.sources.camera import CameraSource
from device_agent.sources.directory import DirectorySource
from device_agent.sources.frame_queue import FrameQueue
from device_agent.sources.http import HttpSource
from device_agent.sources.mqtt import MqttSource
from device_agent.sources.replay import ReplaySource
from device_agent.sources.source import Frame, Source, SourceEnded
from device_agent.sources.synthetic import SyntheticSource
from tests.unit.device_agent.sources.payload_tensors import PICTURE, PREPROCESSING, tensor

DESCRIBE = Answers([tensor((1, 2), "float32", name="y")], ResultsSection())
OUTPUT = [np.array([[0.25, 0.75]], np.float32)]
Said = list[str]


def picture_bytes(value: int = 200) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 10, 20)).save(stream, "PNG")
    return stream.getvalue()


def video(path: Path, frames: int = 5) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(np.full((48, 64, 3), (20, 40, 220), np.uint8))  # blue, green, red: a red picture
    writer.release()
    return path


def http_source(said: Said, **changes: Any) -> HttpSource:
    options = {
        "address": "127.0.0.1", "port": 0, "queue_frames": 2, "max_frame_bytes": 1 << 20, "timeout_seconds": 5.0,
        "on_refused": said.append, "overflow": "drop_oldest", "describe": DESCRIBE,
    } | changes  # fmt: skip
    return HttpSource([PICTURE], PREPROCESSING, **options)


def post(port: int, body: bytes, path: str = "/infer") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def posting(port: int, *bodies: bytes) -> list[threading.Thread]:
    def send(body: bytes) -> None:
        try:
            post(port, body)
        except (OSError, http.client.HTTPException):  # the source was closed
            return

    threads = [threading.Thread(target=send, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    return threads


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what all of them promise ---


def make_null(_folder: Path, _said: Said) -> Source:
    return SyntheticSource([PICTURE], as_arrays=True)


def make_directory(folder: Path, said: Said) -> Source:
    (folder / "0.png").write_bytes(b"no picture")
    (folder / "1.png").write_bytes(picture_bytes())
    return DirectorySource(folder, [PICTURE], PREPROCESSING, loop=False, on_refused=said.append)


def make_watch(folder: Path, said: Said) -> Source:
    make_directory(folder, said)
    return DirectorySource(folder, [PICTURE], PREPROCESSING, loop=False, watch=True, on_refused=said.append)


def make_replay(folder: Path, said: Said) -> Source:
    shape = tuple(PICTURE.shape[axis] for axis in np.argsort(PICTURE.source_axes))
    samples = np.zeros((2, *shape[1:]), np.float32)
    samples[0] = np.nan
    np.savez(folder / "a.npz", **{PICTURE.source_name: samples})
    return ReplaySource(folder / "a.npz", [PICTURE], loop=False, on_refused=said.append)


def make_mqtt(_folder: Path, said: Said) -> Source:
    source = MqttSource(
        [PICTURE], PREPROCESSING, queue_frames=2, max_frame_bytes=1 << 20, on_refused=said.append
    )
    source.offer(b"no picture")
    source.offer(picture_bytes())
    return source


def make_http(_folder: Path, said: Said) -> Source:
    source = http_source(said)
    posting(source.port, b"no picture", picture_bytes())
    return source


def make_camera(folder: Path, said: Said) -> Source:
    return CameraSource(
        video(folder / "v.avi"),
        [PICTURE],
        PREPROCESSING,
        queue_frames=2,
        overflow="block",
        on_refused=said.append,
    )


KINDS: dict[str, tuple[Callable[[Path, Said], Source], int]] = {
    "null": (make_null, 0), "directory": (make_directory, 1), "watch": (make_watch, 1), "replay": (make_replay, 1),
    "mqtt": (make_mqtt, 1), "http": (make_http, 1), "camera": (make_camera, 0),
}  # fmt: skip


def take_frames(source: Source, seconds: float = 10.0) -> list[Frame]:
    """Take until the first frame came and nothing follows for a moment, or the source has ended."""
    frames: list[Frame] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and len(frames) < 3:
        try:
            frame = source.next(0.05)
        except SourceEnded:
            break
        if frame is not None:
            frames.append(frame)
        elif frames and source.refused:
            break
    return frames


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_frames_counts_what_it_refuses_and_closes_twice(tmp_path: Path, kind: str) -> None:
    said: Said = []
    make, broken = KINDS[kind]
    source = make(tmp_path, said)
    frames = take_frames(source)
    assert frames, kind
    for frame in frames:
        assert frame.id
        assert [(array.dtype.name, array.shape) for array in frame.inputs] == [(PICTURE.dtype, PICTURE.shape)]
        assert all(array.flags.c_contiguous for array in frame.inputs)
    assert (source.refused, len(said), source.dropped) == (broken, broken, 0)
    source.close()
    source.close()


# --- back-pressure ---


def test_the_newest_or_the_oldest_win_and_every_loss_is_counted() -> None:
    for overflow, kept in (("drop_oldest", [3, 4]), ("drop_newest", [0, 1])):
        gone: list[int] = []
        frames: FrameQueue[int] = FrameQueue(2, overflow, gone.append)
        for number in range(5):
            frames.put(number)
        assert [frames.take(0.0), frames.take(0.0), frames.take(0.0)] == [*kept, None]
        assert frames.dropped == len(gone) == 3
        assert sorted(gone + kept) == list(range(5))


def test_block_loses_nothing_and_lets_go_when_it_is_closed() -> None:
    frames: FrameQueue[int] = FrameQueue(2, "block")
    sender = threading.Thread(target=lambda: [frames.put(number) for number in range(200)])
    sender.start()
    assert [frames.take(10.0) for _ in range(150)] == list(range(150))
    frames.close()
    sender.join(10.0)
    assert not sender.is_alive()
    assert frames.dropped == 50, "what waited at the close, and what came after it"


# --- over HTTP ---


def answering(source: HttpSource, stop: threading.Event) -> threading.Thread:
    def infer() -> None:
        while not stop.is_set():
            frame = source.next(0.05)
            if frame is not None and frame.answer is not None:
                frame.answer.give(1_500_000, OUTPUT)

    thread = threading.Thread(target=infer, daemon=True)
    thread.start()
    return thread


def test_a_result_comes_in_the_answer_and_every_refusal_says_why() -> None:
    said: Said = []
    source, stop = http_source(said, max_frame_bytes=10_000), threading.Event()
    thread = answering(source, stop)
    status, document = post(source.port, picture_bytes())
    assert status == 200
    assert document["latency_seconds"] == 0.0015
    assert document["outputs"] == [{"form": "raw", "name": "y", "shape": [1, 2], "values": [0.25, 0.75]}]
    status, document = post(source.port, b"no picture")
    assert (status, document["error"]) == (400, said[0])
    assert post(source.port, bytes(10_001))[0] == 413
    assert post(source.port, b"x", "/other")[0] == 404
    with socket.create_connection(("127.0.0.1", source.port), 60.0) as raw:
        raw.sendall(b"POST /infer HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.recv(64).startswith(b"HTTP/1.1 411 ")
    with socket.create_connection(("127.0.0.1", source.port), 60.0) as raw:
        raw.sendall(b"\0\xff garbage\r\n\r\n")
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400 ")
    with socket.create_connection(("127.0.0.1", source.port), 60.0) as raw:
        raw.sendall(b"GET /infer HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert json.loads(body) == {"error": "POST /infer is all there is"}
    assert post(source.port, picture_bytes())[0] == 200, "and the next one is answered"
    stop.set()
    thread.join(5.0)
    source.close()


def test_frames_that_are_dropped_or_never_inferred_are_answered_too() -> None:
    source = http_source([], timeout_seconds=60.0, queue_frames=1)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(source.port, picture_bytes())[0]))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: answers == [503, 503])
    frame = source.next(60.0)
    assert frame is not None
    assert frame.answer is not None
    frame.answer.give(1_500_000, OUTPUT)
    for thread in threads:
        thread.join()
    assert answers == [503, 503, 200]
    assert source.dropped == 2
    source.close()
    lazy = http_source([], timeout_seconds=0.2)
    assert post(lazy.port, picture_bytes())[0] == 504
    lazy.close()


def start_of_post(port: int, length: int, sent: bytes = b"", *, head: str = "") -> socket.socket:
    """Begin a request and leave it at that."""
    connection = socket.create_connection(("127.0.0.1", port), 60.0)
    connection.sendall(f"POST /infer HTTP/1.1\r\nContent-Length: {length}\r\n{head}\r\n".encode() + sent)
    return connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    with connection:
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def test_what_is_read_at_the_same_time_is_bounded_and_who_finds_no_room_is_told_and_counted() -> None:
    largest = 100_000
    source, stop = http_source([], max_frame_bytes=largest, timeout_seconds=0.5), threading.Event()
    source._server.answer_seconds = 60.0  # it is room that is not waited for
    thread = answering(source, stop)
    held = [start_of_post(source.port, largest, b"x") for _ in range(2)]
    wait_until(lambda: source._room._free_bytes == 0)  # both are being read
    assert answer_of(start_of_post(source.port, largest, b"x"))[0] == 503
    assert source.dropped == 1
    for connection in held:
        connection.close()
    wait_until(lambda: source._room._free_bytes == 2 * largest)  # who goes away leaves its room
    assert post(source.port, picture_bytes())[0] == 200
    stop.set()
    thread.join(5.0)
    source.close()


def test_with_block_who_finds_no_room_waits_until_there_is() -> None:
    frame = picture_bytes()
    source = http_source([], max_frame_bytes=len(frame), timeout_seconds=0.2, overflow="block")
    held = [start_of_post(source.port, len(frame)) for _ in range(2)]
    wait_until(lambda: source._room._free_bytes == 0)
    third = start_of_post(source.port, len(frame), frame)
    time.sleep(0.5)
    held[0].close()
    assert source.next(10.0) is not None
    source.close()
    for connection in (*held, third):
        connection.close()
    assert source.dropped == 0


def test_a_body_that_drips_is_refused_however_little_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "_BODY_SECONDS", 0.3)
    source = http_source([])
    slow = start_of_post(source.port, 1000, b"x")
    while not select.select([slow], [], [], 0.05)[0]:  # until it is answered
        slow.sendall(b"x")
    status, document = answer_of(slow)
    assert status == 408
    assert document["error"].endswith(" of 1000 bytes came within 0.3 s")
    source.close()


def test_who_sends_far_too_much_reads_why_and_who_asks_first_sends_nothing() -> None:
    source = http_source([], max_frame_bytes=10_000)
    status, document = post(source.port, bytes(8 << 20))
    assert (status, document["error"]) == (
        413,
        "8388608 bytes; source.max_frame_bytes: at most 10000 are accepted",
    )
    asking = start_of_post(source.port, 10_001, head="Expect: 100-continue\r\n")
    assert answer_of(asking)[0] == 413
    source.close()


def test_a_body_of_more_than_32_mib_is_taken_where_it_is_allowed_and_a_wrong_one_named() -> None:
    wide = tensor((1, 9 << 20), "float32")
    options: dict[str, Any] = {
        "address": "127.0.0.1", "port": 0, "queue_frames": 1, "max_frame_bytes": 64 << 20, "timeout_seconds": 30.0,
        "on_refused": lambda _: None, "overflow": "drop_oldest", "describe": DESCRIBE,
    }  # fmt: skip
    source, stop = HttpSource([wide], None, **options), threading.Event()
    thread = answering(source, stop)
    for shape, status in (((1, 9 << 20), 200), ((1, (9 << 20) - 1), 400)):
        stream = io.BytesIO()
        np.save(stream, np.zeros(shape, np.float32))
        given, document = post(source.port, stream.getvalue())
        assert given == status, document
    assert "expected shape (1, 9437184), got (1, 9437183)" in document["error"]
    stop.set()
    thread.join(5.0)
    source.close()


def test_connections_are_bounded() -> None:
    source = http_source([])
    held = [socket.create_connection(("127.0.0.1", source.port), 60.0) for _ in range(16)]
    for connection in held:
        connection.sendall(b"POST /infer HTTP/1.1\r\n")
    with socket.create_connection(("127.0.0.1", source.port), 60.0) as one_more:
        assert one_more.recv(64).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    source.close()


def test_a_port_that_is_taken_says_so() -> None:
    source = http_source([])
    with pytest.raises(DeviceError, match=r"source\.http_port \d+: cannot listen"):
        http_source([], port=source.port)
    source.close()


# --- over MQTT, with a response topic ---


def test_a_message_that_asks_is_answered_with_a_result_or_a_reason() -> None:
    source = MqttSource(
        [PICTURE],
        PREPROCESSING,
        queue_frames=1,
        max_frame_bytes=1 << 20,
        on_refused=lambda _: None,
        describe=DESCRIBE,
    )
    answers: list[dict[str, Any]] = []

    def respond(payload: bytes) -> None:
        answers.append(json.loads(payload))

    source.offer(picture_bytes(), respond)
    frame = source.next(0.0)
    frame.answer.give(1000, OUTPUT)
    source.offer(b"no picture", respond)
    assert source.next(0.0) is None
    source.offer(picture_bytes(), respond)
    source.offer(picture_bytes(), None)
    assert source.next(0.0).answer is None
    assert answers[0]["outputs"][0]["values"] == [0.25, 0.75]
    assert "error" in answers[1]
    assert answers[2]["error"].startswith("dropped")
    assert len(answers) == 3


# --- a folder that is watched ---


def test_a_watched_folder_gives_every_file_once_and_again_when_it_changed(tmp_path: Path) -> None:
    source = DirectorySource(
        tmp_path, [PICTURE], PREPROCESSING, loop=False, watch=True, on_refused=lambda _: None
    )

    def ids() -> list[str]:
        frames = [source.next(0.0) for _ in range(6)]
        return [frame.id for frame in frames if frame is not None]

    assert ids() == []
    (tmp_path / "a.png").write_bytes(picture_bytes())
    assert ids() == ["a.png"]
    (tmp_path / "b.png").write_bytes(picture_bytes())
    (tmp_path / "a.png").write_bytes(picture_bytes() + b" ")
    assert ids() == ["a.png", "b.png"]
    assert ids() == []
    (tmp_path / "a.png").unlink()
    assert ids() == []
    assert source._given.keys() == {"b.png"}, "and what is gone is forgotten"
    source.close()


# --- a camera ---


def test_a_video_is_given_in_full_in_the_right_colours_and_ends(tmp_path: Path) -> None:
    source = make_camera(tmp_path, [])
    frames = [source.next(5.0) for _ in range(5)]
    with pytest.raises(SourceEnded):
        take_until_the_end(source)
    still = DirectorySource(red_folder(tmp_path / "red"), [PICTURE], PREPROCESSING, loop=False).next(0.0)
    apart = np.abs(frames[0].inputs[0].astype(float) - still.inputs[0].astype(float)).max()
    assert apart <= 0.05 * max(1.0, np.abs(still.inputs[0].astype(float)).max()), (
        "as the same picture from a file"
    )
    source.close()


def test_pictures_that_would_grow_beyond_all_bounds_are_refused_one_by_one(tmp_path: Path) -> None:
    said: list[str] = []
    source = CameraSource(
        video(tmp_path / "v.avi"),
        [PICTURE],
        replace(PREPROCESSING, resize=(16_384, 16_384)),
        queue_frames=2,
        overflow="block",
        on_refused=said.append,
    )
    assert [source.next(5.0), source.next(5.0)] == [None, None]
    assert source.refused == 2
    assert "16384 x 16384 pixels when resized; at most 64000000 are accepted" in said[0]
    source.close()


def take_until_the_end(source: Source) -> None:
    while source.next(5.0) is None:
        continue


def red_folder(folder: Path) -> Path:
    folder.mkdir()
    Image.new("RGB", (64, 48), (220, 40, 20)).save(folder / "red.png")
    return folder


def test_what_is_no_camera_says_so(tmp_path: Path) -> None:
    for name, data in (("absent.avi", None), ("text.avi", b"no video")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(DeviceError, match=r"\.avi: cannot be opened as a camera or video"):
            CameraSource(
                tmp_path / name,
                [PICTURE],
                PREPROCESSING,
                queue_frames=1,
                overflow="block",
                on_refused=lambda _: None,
            )
    with pytest.raises(DeviceError, match="does not say how to prepare pictures"):
        CameraSource(
            tmp_path / "a", [PICTURE], None, queue_frames=1, overflow="block", on_refused=lambda _: None
        )


def test_a_machine_without_opencv_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(DeviceError, match=r"OpenCV cannot be imported") as caught:
        CameraSource(
            tmp_path / "a",
            [PICTURE],
            PREPROCESSING,
            queue_frames=1,
            overflow="block",
            on_refused=lambda _: None,
        )
    assert "edgewright[camera]" in str(caught.value)
