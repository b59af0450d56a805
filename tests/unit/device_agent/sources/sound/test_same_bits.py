"""What comes out is the same to the last bit: kept digests, with and without the processor's vector units, whatever is fed before."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core import _multiarray_umath as features  # type: ignore[attr-defined]  # where NumPy says what it dispatches

from device_agent.contract.sound import Logarithm, Normalization
from device_agent.sources.sound.prepare import load_sound, prepare_waveform
from device_agent.sources.sound.proof import proof_recording
from tests.unit.device_agent.sources.recordings import EVERY_STEP, mel, sound, spectrum, waveform

DECLARATIONS = {
    "bands": sound(),
    "every step": EVERY_STEP,
    "mixed waveform": waveform(
        16_000, channels="mix", normalization=Normalization(over="clip", mean=(), std=())
    ),
    "as Whisper": sound(
        spectrum=spectrum(fft_size=400, padding="reflect", frames=100),
        mel=mel(bands=80, scale="slaney", norm="slaney"),
        logarithm=Logarithm(kind="log10", floor=1e-10, offset=None, top=8.0),
        normalization=Normalization(over="constants", mean=(-4.0,), std=(4.0,)),
        layout=("batch", "feature", "time"),
    ),
    "as YAMNet": sound(
        spectrum=spectrum(value="magnitude"),
        mel=mel(bands=64, triangles="mel", low_hz=125.0, high_hz=7_500.0),
        logarithm=Logarithm(kind="natural", floor=None, offset=0.001, top=None),
    ),
}
KEPT = {
    "bands": "76f2d6ebfe7957237f9bd39f45420f1ed37d7d44d055e3fa90478e71e10a7684",
    "every step": "d7a54b87ad0872a943c7919c7c4af545d545be069ce405bc0d573180d770e236",
    "mixed waveform": "4b5171b680c3cb4c590695b0590bdbdae5b52914940acf38e990408fabff2e9b",
    "as Whisper": "16cefba35b8e12ae1895a36f457b6b39d6959a0bba1d9206736243121084b8b8",
    "as YAMNet": "43125127d0b14b619ed456785aaeaf52fdbd698d55be96f7b4128a6a953ab22c",
}
"""Of the artifact's own recordings. One that changes without `ARITHMETIC` counted up makes devices refuse artifacts that are in the field."""


def digests() -> dict[str, str]:
    return {
        name: hashlib.sha256(load_sound(proof_recording(declared), declared).tobytes()).hexdigest()
        for name, declared in DECLARATIONS.items()
    }


def test_every_bit_is_the_one_that_was_kept():
    assert digests() == KEPT


def test_vector_units_change_no_bit():
    """NumPy without those beyond the baseline: on x86 without AVX2, AVX-512 and fused products, as an old processor has it."""
    there = [name for name in features.__cpu_dispatch__ if features.__cpu_features__[name]]
    if not there:
        pytest.skip("this processor has nothing beyond NumPy's baseline")
    root = Path(__file__).parents[5]
    program = "import json, tests.unit.device_agent.sources.sound.test_same_bits as here; print(json.dumps(here.digests()))"
    environment = {**os.environ, "PYTHONPATH": str(root), "NPY_DISABLE_CPU_FEATURES": " ".join(there)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == KEPT


def test_the_recording_is_the_same_wherever_it_is_made():
    told = {
        channels: hashlib.sha256(proof_recording(waveform(16_000, channels=channels))).hexdigest()
        for channels in ("mono", "mix")
    }
    assert {channels: digest[:8] for channels, digest in told.items()} == {
        "mono": "ebb69263",
        "mix": "c9c35a5b",
    }


def test_a_shorter_recording_is_filled_with_zeros_and_a_longer_one_cut():
    wave = np.random.default_rng(1).standard_normal(20_000)
    cut = prepare_waveform(wave, sound())
    assert cut.tobytes() == prepare_waveform(wave[:16_000], sound()).tobytes()
    filled = np.r_[wave[:9_000], np.zeros(7_000)]
    assert prepare_waveform(wave[:9_000], sound()).tobytes() == prepare_waveform(filled, sound()).tobytes()


def test_layouts_are_the_same_numbers_in_another_order():
    wave = np.random.default_rng(2).standard_normal(16_000)
    usual = prepare_waveform(wave, sound())
    assert (usual.shape, usual.dtype) == ((1, 98, 40), np.float32)
    turned = prepare_waveform(wave, sound(layout=("feature", "batch", "time", "channel")))
    assert turned.shape == (40, 1, 98, 1)
    assert turned.flags.c_contiguous
    assert (usual[0] == turned[:, 0, :, 0].T).all()
    bare = prepare_waveform(wave[:5], waveform(5, layout=("batch", "channel", "time")))
    assert bare.tolist() == [[wave[:5].astype(np.float32).tolist()]]


@pytest.mark.parametrize(("over", "axis"), [("clip", None), ("feature", 1)])
def test_a_clip_is_normalized_by_its_own_mean_and_std(over, axis):
    wave = np.random.default_rng(3).standard_normal(16_000)
    plain = prepare_waveform(wave, sound())[0].T.astype(np.float64)
    own = sound(normalization=Normalization(over=over, mean=(), std=()))
    mean, std = plain.mean(axis=axis, keepdims=True), np.sqrt(plain.var(axis=axis, keepdims=True) + 1e-7)
    assert np.abs(prepare_waveform(wave, own)[0].T - (plain - mean) / std).max() < 1e-5


def test_a_silent_clip_is_next_to_nothing_by_its_own_mean_and_not_nan():
    own = sound(normalization=Normalization(over="feature", mean=(), std=()))
    assert np.abs(prepare_waveform(np.zeros(1), own)).max() < 1e-9


def test_a_feature_each_has_its_constants():
    wave = np.random.default_rng(4).standard_normal(16_000)
    plain = prepare_waveform(wave, sound())[0]
    mean, std = tuple(float(index) for index in range(40)), tuple(float(index + 1) for index in range(40))
    found = prepare_waveform(wave, sound(normalization=Normalization(over="constants", mean=mean, std=std)))
    assert np.allclose(found[0], (plain - np.array(mean)) / np.array(std), atol=1e-6)


def test_decibels_of_magnitudes_are_those_of_powers_and_top_cuts_below_the_loudest():
    wave = np.random.default_rng(5).standard_normal(16_000)
    both = [
        prepare_waveform(
            wave,
            sound(
                mel=None,
                spectrum=spectrum(value=value),
                logarithm=Logarithm(kind="decibel", floor=floor, offset=None, top=30.0),
            ),
        )
        for value, floor in (("power", 1e-10), ("magnitude", 1e-5))
    ]
    assert np.abs(both[0] - both[1]).max() < 1e-4
    assert both[0].max() - both[0].min() == pytest.approx(30.0, abs=1e-4)


def test_what_float32_cannot_hold_as_a_normal_number_is_zero():
    tiny = sound(mel=None, logarithm=None, layout=("time", "feature"))
    found = prepare_waveform(np.full(16_000, 1e-25), tiny)
    assert not found.any()
