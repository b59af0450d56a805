"""Recordings as frames: files of a folder, bodies over HTTP and MQTT, and which are refused why."""

from __future__ import annotations

import http.client
import json
import threading

import numpy as np
import pytest

from device_agent.contract.errors import DeviceError
from device_agent.sources.directory import DirectorySource
from device_agent.sources.http import HttpSource
from device_agent.sources.mqtt import MqttSource
from device_agent.sources.sound.prepare import load_sound
from device_agent.sources.source import SourceEnded
from tests.unit.device_agent.sources.payload_tensors import PICTURE, PREPROCESSING, tensor
from tests.unit.device_agent.sources.recordings import EVERY_STEP, sound, tone, wav16, waveform

BANDS = tensor((1, 98, 40))
CODES = tensor((1, 1, 101, 13), "int8", scale=0.05, zero_point=-3, axes=(0, 1, 3, 2))


def folder_source(folder, payload=BANDS, preparation=None, **options):
    said = []
    source = DirectorySource(
        folder, [payload], preparation or sound(), loop=False, on_refused=said.append, **options
    )
    return source, said


def test_recordings_of_a_folder_become_frames_in_order(tmp_path):
    for name, seed in (("b.wav", 1), ("a.WAV", 2)):
        (tmp_path / name).write_bytes(wav16(tone(seed=seed)))
    source, said = folder_source(tmp_path)
    frames = [source.next(0.0), source.next(0.0)]
    assert [frame.id for frame in frames] == ["a.WAV", "b.wav"]
    assert frames[0].inputs[0].tobytes() == load_sound(wav16(tone(seed=2)), sound()).tobytes()
    with pytest.raises(SourceEnded):
        source.next(0.0)
    assert said == []


def test_codes_in_the_payload_s_layout_are_made_of_the_same_numbers(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav16(tone()))
    source, _ = folder_source(tmp_path, CODES, EVERY_STEP)
    codes = source.next(0.0).inputs[0]
    real = load_sound(tmp_path / "a.wav", EVERY_STEP).transpose(0, 1, 3, 2)
    expected = np.clip(np.rint(real / np.float64(0.05)) - 3, -128, 127)
    assert codes.dtype == np.int8
    assert (codes == expected).all()


def test_a_recording_that_the_model_does_not_take_is_left_out_and_told(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav16(tone(), rate=44_100))
    (tmp_path / "b.wav").write_bytes(wav16(tone(), channels=2))
    (tmp_path / "c.wav").write_bytes(wav16(tone())[:100])
    (tmp_path / "d.wav").write_bytes(wav16(tone()))
    source, said = folder_source(tmp_path)
    assert [frame and frame.id for frame in (source.next(0.0) for _ in range(4))] == [
        None,
        None,
        None,
        "d.wav",
    ]
    assert source.refused == 3
    for line, words in zip(said, ("recorded at 44100 Hz", "2 channels", "56 of 32000 bytes"), strict=True):
        assert words in line


def test_an_array_is_the_model_s_input_already(tmp_path):
    ready = np.zeros((98, 40), np.float32)
    np.save(tmp_path / "a.npy", ready)
    source, _ = folder_source(tmp_path)
    assert source.next(0.0).inputs[0].shape == (1, 98, 40)


@pytest.mark.parametrize("preparation", [None, PREPROCESSING])
def test_recordings_for_a_model_that_takes_none_are_refused_at_once(tmp_path, preparation):
    (tmp_path / "a.wav").write_bytes(wav16(tone()))
    with pytest.raises(
        DeviceError, match="holds recordings, but the artifact does not say how to prepare them"
    ):
        DirectorySource(tmp_path, [PICTURE], preparation, loop=False)


def test_pictures_for_a_model_of_sound_are_refused_at_once(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(
        DeviceError, match="holds pictures, but the artifact does not say how to prepare them"
    ):
        DirectorySource(tmp_path, [BANDS], sound(), loop=False)


def mqtt_source(preparation, payload=BANDS):
    said = []
    return MqttSource(
        [payload], preparation, queue_frames=3, max_frame_bytes=1 << 20, on_refused=said.append
    ), said


def test_a_message_of_a_wav_file_is_a_frame():
    source, said = mqtt_source(sound())
    source.offer(wav16(tone()))
    source.offer(wav16(tone(), rate=8_000))
    source.offer(b"\x89PNG")
    assert source.next(0.0).inputs[0].tobytes() == load_sound(wav16(tone()), sound()).tobytes()
    assert [source.next(0.0), source.next(0.0)] == [None, None]
    assert "recording: recorded at 8000 Hz" in said[0]
    assert "recording: not a WAV file" in said[1]


def test_without_a_declaration_a_wav_file_is_refused_by_name():
    """So does an agent of before manifest 1.4: it knows of no recording, and says that nothing tells it how to prepare what came."""
    source, said = mqtt_source(None)
    source.offer(wav16(tone()))
    assert source.next(0.0) is None
    assert "not .npy, and the artifact does not say how to prepare pictures, recordings or texts" in said[0]


def test_a_wav_file_is_posted_and_answered():
    payload = tensor((1, 16))
    source = HttpSource(
        [payload],
        waveform(16),
        address="127.0.0.1",
        port=0,
        queue_frames=2,
        max_frame_bytes=1 << 16,
        timeout_seconds=20.0,
        on_refused=lambda _: None,
        overflow="block",
        describe=lambda frame, _, outputs: json.dumps([frame, outputs[0].tolist()]).encode(),
    )
    answers = []

    def post(body):
        connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=30)
        connection.request("POST", "/infer", body)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
        connection.close()

    try:
        for body in (wav16([16_384, -16_384]), wav16([1], rate=8_000)):
            client = threading.Thread(target=post, args=(body,))
            client.start()
            frame = None
            while frame is None and client.is_alive():
                frame = source.next(0.05)
            if frame is not None:
                frame.answer.give(1, frame.inputs)
            client.join(30)
    finally:
        source.close()
    assert answers[0] == (200, json.dumps(["http-1", [[0.5, -0.5] + [0.0] * 14]]).encode())
    assert answers[1][0] == 400
    assert b"recorded at 8000 Hz" in answers[1][1]
