"""The table [sound]: what may be left out, what follows from what, and every refusal by name."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.contract.errors import ConfigError
from device_agent.contract.sound import Logarithm, Mfcc, Normalization, Sound
from device_agent.sources.preprocess_file import load_preparation, load_preprocessing, parse_preparation
from tests.unit.device_agent.sources.recordings import mel, sound, spectrum, waveform

FULL = """
[sound]
sample_rate = 16000
duration = 1.0
layout = ["batch", "time", "feature"]
[sound.spectrum]
window = "hann"
frame_length = 400
hop = 160
fft_size = 512
[sound.mel]
bands = 40
scale = "htk"
[sound.logarithm]
kind = "natural"
floor = 1e-6
"""


def parsed(text: str) -> Sound:
    found = parse_preparation(text.encode(), origin="p.toml")
    assert isinstance(found, Sound)
    return found


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_preparation(text.encode(), origin="p.toml")
    assert str(caught.value).startswith("p.toml: ")
    return str(caught.value)


def test_what_goes_without_saying_is_left_out():
    assert parsed(FULL) == sound()


@pytest.mark.parametrize("triangles", ["hertz", "mel"])
def test_bands_that_hear_nothing_are_refused(triangles):
    said = refused(FULL.replace("bands = 40", f'bands = 40\nhigh_hz = 8.0\ntriangles = "{triangles}"'))
    assert "sound.mel: expected bands that hold a frequency of the spectrum, which are 31.25 Hz apart" in said
    assert "none of 40 from 0 to 8 Hz does" in said
    assert "in Hz?" in said
    assert parsed(FULL.replace("bands = 40", "bands = 1\nhigh_hz = 32.0")).mel is not None


def test_a_waveform_needs_three_keys():
    text = '[sound]\nsample_rate = 16000\nsamples = 15\nlayout = ["batch", "time"]\n'
    assert parsed(text) == waveform(15)


def test_every_step_can_be_said_whole():
    text = FULL.replace(
        'window = "hann"',
        'window = "hamming"\nsymmetry = "symmetric"\npadding = "zero"\nframes = 100\nvalue = "magnitude"',
    )
    text = text.replace(
        'scale = "htk"', 'scale = "slaney"\ntriangles = "mel"\nnorm = "slaney"\nlow_hz = 20\nhigh_hz = 7600'
    )
    text = text.replace('kind = "natural"\nfloor = 1e-6', 'kind = "decibel"\noffset = 1e-3\ntop = 80')
    text += "[sound.mfcc]\ncoefficients = 13\n[sound.normalization]\nmean = [1.5]\nstd = [2]\n"
    text = text.replace("duration = 1.0", 'duration = 1\nchannels = "mix"\nfull_scale = 32768')
    assert parsed(text) == sound(
        channels="mix",
        full_scale=32_768.0,
        spectrum=spectrum(
            window="hamming", symmetry="symmetric", padding="zero", frames=100, value="magnitude"
        ),
        mel=mel(scale="slaney", triangles="mel", norm="slaney", low_hz=20.0, high_hz=7_600.0),
        logarithm=Logarithm(kind="decibel", floor=None, offset=1e-3, top=80.0),
        mfcc=Mfcc(coefficients=13),
        normalization=Normalization(over="constants", mean=(1.5,), std=(2.0,)),
    )


def test_the_example_of_the_document_says_every_key_and_is_a_declaration():
    text = (Path(__file__).parents[5] / "docs" / "preprocessing.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[sound]" in block]
    found = parsed(example)
    assert found == sound(
        logarithm=Logarithm(kind="decibel", floor=1e-10, offset=None, top=80.0),
        mfcc=Mfcc(coefficients=13),
        normalization=Normalization(over="constants", mean=(-20.5,), std=(12.25,)),
    )
    for step in (found, found.spectrum, found.mel, found.logarithm, found.mfcc, found.normalization):
        left_out = ("extra", "proof", "offset" if step is found.logarithm else "samples")
        for field in dataclasses.fields(step):
            assert (
                f"\n{field.name} = " in example
                or f"[sound.{field.name}]" in example
                or field.name in left_out
            )


def test_a_clip_s_own_normalization_needs_no_numbers():
    assert parsed(FULL + '[sound.normalization]\nover = "feature"\n').normalization == Normalization(
        over="feature", mean=(), std=()
    )


@pytest.mark.parametrize(
    ("padding", "fft_size", "frames", "samples"),
    [("none", 512, 98, 15_920), ("zero", 512, 101, 16_000), ("reflect", 512, 2, 257), ("zero", 405, 3, 321)],
)
def test_of_frames_alone_the_samples_follow(padding, fft_size, frames, samples):
    text = FULL.replace("duration = 1.0\n", "").replace(
        "fft_size = 512", f'fft_size = {fft_size}\nframes = {frames}\npadding = "{padding}"'
    )
    found = parsed(text)
    assert (found.samples, found.frames) == (samples, frames)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("duration = 1.0", "", "sound.samples is missing"),
        ("duration = 1.0", "duration = 1.0\nsamples = 16000", "sound.duration: expected either duration or samples"),
        ("duration = 1.0", "duration = 0.33333", "sound.duration: expected whole samples at 16000 Hz, got '5333.28 samples'"),
        ("duration = 1.0", 'duration = "1"', "sound.duration: expected a number"),
        ("duration = 1.0", "duration = nan", "sound.duration: expected a number"),
        ("duration = 1.0", "duration = 1.0\nproof = {recording = 'a', expected = 'b'}", "sound.proof: unknown key"),
        ("duration = 1.0", "duration = 1.0\nchanels = 'mono'", "sound.chanels: unknown key. Did you mean 'channels'?"),
        ("duration = 1.0", "duration = 0.01", "sound.spectrum.frames"),
        ("bands = 40", "bands = 40\nnorms = 1", "sound.mel.norms: unknown key. Did you mean 'norm'?"),
        ("sample_rate = 16000", "sample_rate = 0", "sound.sample_rate: expected an integer from 1"),
        ("sample_rate = 16000", "sample_rate = 999999999999999999999999", "sound.sample_rate"),
        ("sample_rate = 16000", "sample_rate = true", "sound.sample_rate"),
        ("hop = 160", "hop = 99999999999999999999999", "sound.spectrum.hop"),
        ("hop = 160", "", "sound.spectrum.hop is missing"),
        ("fft_size = 512", "fft_size = 506", "without a prime factor above 7, got 506"),
        ("floor = 1e-6", "", "sound.logarithm.floor: expected either floor or offset"),
        ("[sound.spectrum]", "[sound.spectum]", "sound.spectum: unknown key. Did you mean 'spectrum'? It knows duration, sample_rate,"),
        ("sample_rate = 16000", "sampel_rate = 16000", "sound.sampel_rate: unknown key. Did you mean 'sample_rate'?"),
        ("hop = 160", "hopp = 160", "sound.spectrum.hopp: unknown key. Did you mean 'hop'? It knows window, symmetry, frame_length, hop,"),
        ('layout = ["batch", "time", "feature"]', 'layout = "time, mel"', "sound.layout: expected an array"),
        ('layout = ["batch", "time", "feature"]', 'layout = ["time", "mel"]', "sound.layout: expected names out of"),
        ("bands = 40", "bands = 40\nhigh_hz = 9000", "sound.mel.high_hz: expected a number from 0 to 8000"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(old, new, said):
    assert old in FULL
    assert said in refused(FULL.replace(old, new))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            "expected one table, [preprocess] for pictures, [sound] for recordings or [text] for texts; got none",
        ),
        ("[preprocess]\n[sound]\n", "got preprocess and sound"),
        ("sound = 1", "expected a table [sound]"),
        (
            "[sound]\nsample_rate = 8000\nsamples = 800\nspectrum = 3\n",
            "sound.spectrum: expected an object, got 3",
        ),
        ("[sond]\n", "sond: unknown key. Did you mean 'sound'?"),
    ],
)
def test_a_file_declares_one_of_the_three(text, said):
    assert said in refused(text)


@given(
    key=st.sampled_from(["duration", "samples", "sample_rate", "hop", "fft_size", "frame_length", "frames", "bands", "low_hz", "floor"]),
    value=st.sampled_from(["-1", "0", "1", "1e400", "inf", "nan", "true", "[]", "{}", "''", "9" * 30, "1979-05-27", "16777216"]),
)  # fmt: skip
def test_nothing_but_our_own_error_comes_out(key, value):
    lines = [line for line in FULL.splitlines() if not line.startswith(f"{key} =")]
    place = {"duration": 1, "samples": 1, "sample_rate": 1, "bands": -5, "low_hz": -5, "floor": -1}.get(
        key, 6
    )
    at = lines.index("[sound.mel]") + 1 if place == -5 else len(lines) if place == -1 else place
    at = (
        lines.index("[sound.spectrum]") + 1
        if place == 6
        else lines.index("[sound]") + 1
        if place == 1
        else at
    )
    lines.insert(at, f"{key} = {value}")
    with contextlib.suppress(ConfigError):
        parsed("\n".join(lines))


def test_a_file_is_read_from_the_disk(tmp_path):
    path = tmp_path / "preprocess.toml"
    path.write_text(FULL)
    assert load_preparation(path) == sound()


def test_where_only_pictures_will_do_sound_is_refused(tmp_path):
    path = tmp_path / "preprocess.toml"
    path.write_text(FULL)
    with pytest.raises(ConfigError, match=r"preprocess\.toml: expected a table \[preprocess\], for pictures"):
        load_preprocessing(path)
