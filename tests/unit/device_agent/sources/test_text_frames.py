"""Frames of text: a folder, HTTP and MQTT, each giving all inputs of the model at once."""

from __future__ import annotations

import http.client
import io
import json
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device_agent.answers import Answers
from device_agent.config import ResultsSection
from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError
from device_agent.sources.directory import DirectorySource
from device_agent.sources.http import HttpSource
from device_agent.sources.mqtt import MqttSource
from device_agent.sources.text import MAX_TEXT_BYTES, TextReader, load_text
from tests.integration.small_encoder import INPUTS, LENGTH, tokenizer_json
from tests.unit.device_agent.sources.payload_tensors import tensor

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.sources.source import Frame

# The payload has them the other way round and in another type, as a target may.
TENSORS = [
    tensor((1, LENGTH), "int64", name="attention_mask"),
    tensor((1, LENGTH), "int32", name="input_ids"),
]
IDS = [TENSORS[1]]
TEXT = "The pump runs: 90 % at 7°."


@cache
def reader(*parts: str) -> TextReader:
    inputs = {name: part for name, part in INPUTS.items() if not parts or part in parts}
    return TextReader(tokenizer_json(), length=LENGTH, inputs=inputs, where="tokenizer.json")


def require_text(frame: Frame | None, text: str = TEXT) -> None:
    assert frame is not None
    numbers = reader().numbers(text)
    assert [array.dtype.name for array in frame.inputs] == ["int64", "int32"]
    assert [array[0].tolist() for array in frame.inputs] == [list(numbers["mask"]), list(numbers["ids"])]
    assert all(array.flags.c_contiguous for array in frame.inputs)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_folder_gives_its_texts_and_leaves_out_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_bytes(b"caf\xe9")
    (tmp_path / "1.TXT").write_text(TEXT + "\n")
    (tmp_path / "2.txt").write_bytes(b"a" * (MAX_TEXT_BYTES + 1))
    (tmp_path / "3.png").write_bytes(b"a picture is no text")
    np.save(tmp_path / "4.npy", np.zeros((1, LENGTH), np.int64))
    said: list[str] = []
    source = DirectorySource(tmp_path, TENSORS, reader(), loop=False, on_refused=said.append)
    frames = [source.next(0.0) for _ in range(3)]
    assert [frame is None for frame in frames] == [True, False, True]
    require_text(frames[1])
    assert frames[1] is not None
    assert frames[1].id == "1.TXT"
    assert source.refused == 2
    assert said == [
        "0.txt: expected UTF-8, got unexpected end of data at byte 3.",
        f"2.txt: expected a text of at most {MAX_TEXT_BYTES} bytes, got more.",
    ]


def test_a_folder_without_a_text_is_refused_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, LENGTH), np.int64))
    with pytest.raises(DeviceError, match=r"no \.txt file in it"):
        DirectorySource(tmp_path, TENSORS, reader(), loop=False)
    (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(DeviceError, match="a file is one input, but the model has attention_mask, input_ids"):
        DirectorySource(tmp_path, TENSORS, None, loop=False)


def test_a_text_that_changes_is_read_again_while_it_watches(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path, TENSORS, reader(), loop=False, watch=True)
    (tmp_path / "a.txt").write_text(TEXT)
    require_text(next(frame for _ in range(50) if (frame := source.next(0.05)) is not None))
    (tmp_path / "a.txt").write_text("The valve, now.")
    require_text(
        next(frame for _ in range(50) if (frame := source.next(0.05)) is not None), "The valve, now."
    )
    source.close()


def test_a_model_of_one_input_takes_texts_and_arrays(tmp_path: Path) -> None:
    numbers = reader("ids").numbers(TEXT)["ids"]
    (tmp_path / "a.txt").write_text(TEXT)
    np.save(tmp_path / "b.npy", np.array(numbers))
    source = DirectorySource(tmp_path, IDS, reader("ids"), loop=False)
    frames = [source.next(0.0), source.next(0.0)]
    assert [frame.inputs[0][0].tolist() for frame in frames if frame] == [list(numbers)] * 2


def mqtt_source(said: list[str]) -> MqttSource:
    return MqttSource(
        TENSORS,
        reader(),
        queue_frames=8,
        max_frame_bytes=1 << 20,
        on_refused=said.append,
        describe=Answers([tensor((1, 2), "float32", name="y")], ResultsSection()),
    )


def test_a_message_is_a_text_and_whoever_sent_none_hears_why() -> None:
    said: list[str] = []
    answers: list[dict[str, Any]] = []
    source = mqtt_source(said)
    bodies = (
        TEXT.encode(),
        b"caf\xe9",
        b"a" * (MAX_TEXT_BYTES + 1),
        b"",
        npy(np.zeros((1, LENGTH), np.int64)),
    )
    for body in bodies:
        source.offer(body, lambda answer: answers.append(json.loads(answer)))
    require_text(source.next(0.0))
    assert [source.next(0.0) for _ in bodies[1:]] == [None] * 4
    assert [answer["error"] for answer in answers] == said
    for reason, expected in zip(
        said,
        (
            "expected UTF-8",
            f"at most {MAX_TEXT_BYTES} bytes",
            "expected a text, got none",
            "an .npy is one input, but the model has attention_mask, input_ids. Send the text.",
        ),
        strict=True,
    ):
        assert expected in reason


def post(port: int, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            "POST", "/infer", body, {key.replace("_", "-"): value for key, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_request_is_a_text_unless_it_calls_itself_something_else() -> None:
    said: list[str] = []
    frames: list[Frame] = []
    source = HttpSource(
        TENSORS,
        reader(),
        address="127.0.0.1",
        port=0,
        queue_frames=2,
        max_frame_bytes=1 << 20,
        timeout_seconds=60.0,
        on_refused=said.append,
        overflow="drop_oldest",
        describe=Answers([tensor((1, 2), "float32", name="y")], ResultsSection()),
    )
    stop = threading.Event()

    def infer() -> None:
        while not stop.is_set():
            frame = source.next(0.05)
            if frame is not None and frame.answer is not None:
                frames.append(frame)
                frame.answer.give(1_000, [np.array([[0.5, 0.25]], np.float32)])

    thread = threading.Thread(target=infer, daemon=True)
    thread.start()
    for headers in ({}, {"Content_Type": "text/plain"}, {"Content_Type": "text/plain; charset=utf-8"}):
        status, answer = post(source.port, TEXT.encode(), **headers)
        assert (status, answer["outputs"][0]["values"]) == (200, [0.5, 0.25])
    assert len(frames) == 3
    for frame in frames:
        require_text(frame)
    for body, kind, says in (
        (
            b'{"text": "pump"}',
            "application/json",
            "expected a text as text/plain; charset=utf-8, got 'application/json'",
        ),
        (TEXT.encode("latin-1"), "text/plain; charset=latin-1", "expected a text as text/plain"),
        (TEXT.encode("latin-1"), "text/plain", "expected UTF-8"),
        (b"a" * (MAX_TEXT_BYTES + 1), "text/plain", "expected a text of at most 65536 bytes"),
    ):
        status, answer = post(source.port, body, Content_Type=kind)
        assert (status, answer) == (400, {"error": said[-1]})
        assert says in said[-1]
    stop.set()
    thread.join(5.0)
    source.close()


def test_a_text_of_more_bytes_than_the_artifact_takes_is_refused(tmp_path: Path) -> None:
    short = TextReader(tokenizer_json(), length=LENGTH, inputs=INPUTS, where="t", max_bytes=8)
    assert load_text(b"the pump", short).keys() == INPUTS.keys()
    for frame in (b"the pumps", tmp_path / "a.txt"):
        (tmp_path / "a.txt").write_bytes(b"the pumps")
        with pytest.raises(
            FrameError, match=r"(a frame|a\.txt): expected a text of at most 8 bytes, got more"
        ):
            load_text(frame, short)
