"""An artifact shows at start that the device makes the same input of a recording, and is refused where one bit differs."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import SelfTestError
from device_agent.contract.sound import SoundProof
from device_agent.same_preparation import require_same_preparation
from device_agent.sources.sound.prepare import load_sound
from device_agent.sources.sound.proof import proof_recording
from host_tools.pack.sound_proof import with_proof
from tests.integration.support import float_tensor, manifest_of, member_of, write_ewa
from tests.unit.device_agent.sources.recordings import EVERY_STEP, sound, wav16, waveform


def artifact(path, declared, change=None):
    """An artifact of the null engine that takes recordings; ``change`` falsifies its members."""
    members = {}
    declared = with_proof(declared, members)
    members |= (change or (lambda _: {}))(dict(members))
    payload = {"payload/null.json": b"{}"}
    manifest = manifest_of(
        payload,
        engine="null",
        inputs=[float_tensor("x", declared.shape)],
        outputs=[float_tensor("y", (1, 4))],
    )
    manifest = replace(
        manifest,
        sound=declared,
        members=tuple(member_of(name, data) for name, data in members.items()),
    )
    return ArtifactArchive.open(write_ewa(path, manifest, {**payload, **members}))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def refused(archive):
    with pytest.raises(SelfTestError) as caught:
        require_same_preparation(archive)
    return str(caught.value)


@pytest.mark.parametrize("declared", [sound(), EVERY_STEP, waveform(100_000, channels="mix")])
def test_what_the_host_made_the_device_makes_again(tmp_path, declared):
    archive = artifact(tmp_path / "a.ewa", declared)
    assert archive.manifest.sound.proof == SoundProof(
        recording="sound/recording.wav", expected="sound/input.npy"
    )
    require_same_preparation(archive)


def test_one_bit_is_enough_to_refuse(tmp_path):
    def one_bit(members):
        values = load_sound(members["sound/recording.wav"], sound()).copy()
        values.reshape(-1).view(np.uint32)[1_234] ^= 1
        return {"sound/input.npy": npy(values)}

    said = refused(artifact(tmp_path / "a.ewa", sound(), one_bit))
    assert "1 of 3920 values differ from the host's, by up to" in said
    assert f"NumPy {np.__version__}" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sound/input.npy": npy(np.zeros((1, 98, 39), np.float32))}, "expected float32 (1, 98, 40), got float32 (1, 98, 39)"),
        ({"sound/input.npy": npy(np.zeros((1, 98, 40)))}, "got float64 (1, 98, 40)"),
        ({"sound/input.npy": b"no array"}, "cannot be prepared: the sound's proof: not an .npy"),
        ({"sound/recording.wav": b"no recording"}, "cannot be prepared: recording: not a WAV file"),
        ({"sound/recording.wav": wav16([1], rate=8_000)}, "recorded at 8000 Hz"),
    ],
)  # fmt: skip
def test_a_proof_that_is_none_refuses_the_artifact(tmp_path, changed, said):
    assert said in refused(artifact(tmp_path / "a.ewa", sound(), lambda _: changed))


def test_an_artifact_without_sound_proves_nothing(tmp_path):
    payload = {"payload/null.json": b"{}"}
    manifest = manifest_of(
        payload, engine="null", inputs=[float_tensor("x", (1, 4))], outputs=[float_tensor("y", (1, 4))]
    )
    require_same_preparation(ArtifactArchive.open(write_ewa(tmp_path / "a.ewa", manifest, payload)))


@pytest.mark.parametrize("declared", [sound(), waveform(5, sample_rate=1), EVERY_STEP])
def test_the_recording_is_short_and_one_that_the_declaration_takes(declared):
    recording = proof_recording(declared)
    assert len(recording) <= 44 + 2 * (1 << 15)
    assert np.isfinite(load_sound(recording, declared)).all()
    assert load_sound(recording, declared).any()
