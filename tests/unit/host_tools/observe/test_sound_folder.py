"""A folder of recordings as calibration data: prepared as the device prepares them, and refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device_agent.sources.sound.prepare import load_sound
from host_tools.errors import DataError
from host_tools.model.float_model import TensorSpec
from host_tools.observe import open_data
from tests.unit.device_agent.sources.payload_tensors import PREPROCESSING
from tests.unit.device_agent.sources.recordings import sound, tone, wav16

INPUT = (TensorSpec(name="sound", shape=(1, 98, 40), dtype="float32"),)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "yes").mkdir()
    for name, seed in (("b.wav", 1), ("yes/a.WAV", 2), ("a.wav", 3)):
        (tmp_path / name).write_bytes(wav16(tone(seed=seed)))
    return tmp_path


def reason(spec, inputs=INPUT, **options):
    with pytest.raises(DataError) as caught:
        list(open_data(spec, inputs=inputs, **options))
    return str(caught.value)


def test_recordings_are_prepared_as_the_device_prepares_them(folder):
    data = open_data(folder, inputs=INPUT, preparation=sound())
    assert [sample.id for sample in data] == list(data.ids()) == ["a.wav", "b.wav", "yes/a.WAV"]
    for sample in data:
        expected = load_sound(folder / sample.id, sound())
        assert sample.arrays["sound"].tobytes() == expected.tobytes()


def test_the_fingerprint_is_of_files_and_declaration(folder):
    def told(declared=None, limit=None):
        data = open_data(folder, inputs=INPUT, preparation=declared or sound(), limit=limit)
        return data.fingerprint()

    first = told()
    assert first == told()
    assert len({first, told(limit=2), told(replace(sound(), full_scale=2.0))}) == 3
    (folder / "b.wav").write_bytes(wav16(tone(seed=9)))
    assert first != told()


def test_a_recording_that_the_model_does_not_take_is_named(folder):
    (folder / "c.wav").write_bytes(wav16(tone(), rate=8_000))
    said = reason(folder, preparation=sound())
    assert f"{folder / 'c.wav'}: recorded at 8000 Hz; the model takes 16000 Hz" in said
    assert "ffmpeg" in said
    (folder / "c.wav").write_bytes(b"RIFF")
    assert "Mend the file or take it out of the folder." in reason(folder, preparation=sound())


def test_recordings_without_a_declaration_or_with_that_of_pictures(folder):
    assert "holds recordings, but nothing says how they become the model's input" in reason(folder)
    said = reason(folder, preparation=PREPROCESSING)
    assert "holds recordings, but its preprocess.toml has no table [sound]" in said


def test_recordings_beside_other_files(folder):
    np.save(folder / "a.npy", np.zeros((98, 40), np.float32))
    assert "holds both recordings (3) and .npy files (1)" in reason(folder, preparation=sound())


def test_recordings_for_a_model_of_two_inputs(folder):
    assert "the model has 2 inputs" in reason(folder, INPUT * 2, preparation=sound())


def test_arrays_beside_a_declaration_of_sound_are_inputs_already(tmp_path):
    ready = np.random.default_rng(0).standard_normal((98, 40)).astype(np.float32)
    np.save(tmp_path / "a.npy", ready)
    (sample,) = open_data(tmp_path, inputs=INPUT, preparation=sound())
    assert (sample.arrays["sound"] == ready[np.newaxis]).all()
