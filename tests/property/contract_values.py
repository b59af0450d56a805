"""Hypothesis strategies for everything that the contract can say: manifests, messages, topics, units."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from device_agent.contract import manifest_codec
from device_agent.contract.digest import digest_of
from device_agent.contract.manifest import (
    GoldenSample,
    Heat,
    Manifest,
    Member,
    PayloadTensor,
    Preprocessing,
    Requires,
    Tolerance,
)
from device_agent.contract.sound import (
    Logarithm,
    Mel,
    Mfcc,
    Normalization,
    Sound,
    SoundProof,
    Spectrum,
)
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    INPUT_BUCKETS,
    ExponentialHistogram,
    InferenceWindow,
    InputSketch,
    InputWindow,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.result import Raw, Result, Summary, TopK
from device_agent.contract.telemetry.states import Alarm, Birth, CommandState, Health, Reported, RunningModel
from device_agent.contract.telemetry.units import SUFFIXES, Unit
from device_agent.contract.text import Text, TextSample
from device_agent.contract.topics import AGENT_SERVICE, Topic

WORD = "abcdefghijklmnopqrstuvwxyz0123456789_"
IDENTIFIER = "ABCabcxyz0189_-"
FLOAT32_MAX = manifest_codec._FLOAT32_MAX
COUNTS = st.integers(0, (1 << 53) - 1)
AMOUNTS = st.floats(0.0, 1.7976931348623157e308)
REALS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
DIGESTS = st.binary(max_size=4).map(digest_of)
SCALARS = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | REALS | TEXTS | st.just("")
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
HARD_JSON = st.sampled_from(
    [None, "", 0, -1, 1 << 53, 1e308, True, [], {}, [None], ["dev-1"], "\0", "../x", "sha256:", "x" * 1_100]
)
UNKNOWN = st.dictionaries(TEXTS.map("x_{}".format), JSON, max_size=2)
"""Fields of a newer minor version; no field of ours begins like that."""
BOOT_IDS = st.text(IDENTIFIER, min_size=1, max_size=8)
DEVICE_IDS = st.text(IDENTIFIER, min_size=1, max_size=8)
NAMES = st.builds("{}{}".format, st.sampled_from("abz"), st.text(WORD, max_size=8))
MODEL_NAMES = NAMES
VARIANTS = st.sampled_from((None, "a", "b"))
SHAPES = st.lists(st.integers(1, 9), max_size=4).map(tuple)


def extended(kind: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields, extra=UNKNOWN)


# --- manifest ---


@st.composite
def tensors(draw: st.DrawFn, name: str) -> PayloadTensor:
    dtype = draw(st.sampled_from(manifest_codec._WIRE_TYPES))
    shape = draw(SHAPES)
    scale = zero_point = None
    if dtype in manifest_codec.CODE_RANGE and draw(st.booleans()):
        zero_point = draw(st.integers(*manifest_codec.CODE_RANGE[dtype]))
    if zero_point is not None or (dtype == "float32" and draw(st.booleans())):
        scale = draw(st.floats(manifest_codec._FLOAT32_TINY, FLOAT32_MAX))
    return PayloadTensor(
        name=name,
        shape=shape,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        source_name=draw(TEXTS),
        source_axes=tuple(draw(st.permutations(range(len(shape))))),
        rows=draw(st.none() | st.integers(1, (1 << 31) - 1))
        if scale is None and dtype in manifest_codec._ROW_NUMBERS
        else None,
        extra=draw(UNKNOWN),
    )


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    color = draw(st.sampled_from(("RGB", "BGR", "L")))
    channels = 1 if color == "L" else 3
    finite = st.floats(-FLOAT32_MAX, FLOAT32_MAX)
    positive = st.floats(manifest_codec._FLOAT32_TINY, FLOAT32_MAX)
    side = st.integers(1, manifest_codec.MAX_SIDE_PIXELS)
    resize = (draw(side), draw(side))
    return Preprocessing(
        resize=resize,
        resample=draw(st.sampled_from(("nearest", "bilinear", "bicubic"))),
        color=color,
        layout=draw(st.sampled_from(("NCHW", "NHWC"))),
        mean=tuple(draw(st.lists(finite, min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(positive, min_size=channels, max_size=channels))),
        crop=draw(st.none() | st.tuples(*(st.integers(1, extent) for extent in resize))),
        extra=draw(UNKNOWN),
    )


@st.composite
def heats(draw: st.DrawFn) -> Heat:
    celsius = st.floats(-40.0, 200.0)
    slow = draw(st.none() | celsius)
    return Heat(
        slow_celsius=slow,
        slow_rate_hz=None if slow is None else draw(st.floats(0.001, 100_000.0)),
        pause_celsius=draw(celsius) if slow is None else draw(st.none() | celsius),
        hysteresis_celsius=draw(st.floats(0.5, 50.0)),
        hold_seconds=draw(st.floats(1.0, 3_600.0)),
        extra=draw(UNKNOWN),
    )


@st.composite
def text_inputs(draw: st.DrawFn, inputs: list[PayloadTensor], tokenizer: str) -> Text:
    """A declaration about texts of a model with these inputs, at most three, all of shape (1, length)."""
    (_, length), *_ = (tensor.shape for tensor in inputs)
    parts = dict(zip(("ids", "mask", "types"), (tensor.source_name for tensor in inputs), strict=False))

    def numbers(part: str, highest: int) -> tuple[int, ...] | None:
        found = draw(st.lists(st.integers(0, highest), min_size=length, max_size=length))
        return tuple(found) if part in parts else None

    samples = tuple(
        TextSample(
            text=draw(TEXTS),
            ids=numbers("ids", (1 << 32) - 1) or (),
            mask=numbers("mask", 1),
            types=numbers("types", (1 << 32) - 1),
            extra=draw(UNKNOWN),
        )
        for _ in range(draw(st.integers(1, 2)))
    )
    return Text(
        tokenizer=tokenizer,
        length=length,
        **parts,
        max_bytes=draw(st.none() | st.integers(1, 65_536)),
        samples=samples,
        extra=draw(UNKNOWN),
    )


@st.composite
def spectra(draw: st.DrawFn, samples: int) -> Spectrum:
    fft_size = draw(st.sampled_from([size for size in (4, 6, 15, 64, 400, 512) if size < samples]))
    padding = draw(st.sampled_from(("none", "zero", "reflect")))
    spectrum = Spectrum(
        window=draw(st.sampled_from(("hann", "hamming", "rectangular"))),
        symmetry=draw(st.sampled_from(("periodic", "symmetric"))),
        frame_length=draw(st.integers(2, fft_size)),
        hop=draw(st.integers(1, 600)),
        fft_size=fft_size,
        padding=padding,
        frames=1,
        value=draw(st.sampled_from(("power", "magnitude"))),
        extra=draw(UNKNOWN),
    )
    return replace(spectrum, frames=draw(st.integers(1, spectrum.frames_of(samples))))


@st.composite
def logarithms(draw: st.DrawFn) -> Logarithm:
    amount = st.floats(1e-30, 1e30)
    floor = draw(st.none() | amount)
    return Logarithm(
        kind=draw(st.sampled_from(("natural", "log10", "decibel"))),
        floor=floor,
        offset=draw(amount) if floor is None else None,
        top=draw(st.none() | amount),
        extra=draw(UNKNOWN),
    )


@st.composite
def normalizations(draw: st.DrawFn, features: int) -> Normalization:
    over = draw(st.sampled_from(("constants", "clip", "feature")))
    counts = st.sampled_from((1, features)) if over == "constants" else st.just(0)
    mean, std = draw(counts), draw(counts)
    return Normalization(
        over=over,
        mean=tuple(draw(st.lists(st.floats(-1e30, 1e30), min_size=mean, max_size=mean))),
        std=tuple(draw(st.lists(st.floats(1e-30, 1e30), min_size=std, max_size=std))),
        extra=draw(UNKNOWN),
    )


@st.composite
def sounds(draw: st.DrawFn) -> Sound:
    sample_rate = draw(st.integers(100, 1_000_000))
    samples = draw(st.integers(5, 2_000))
    spectrum = draw(st.none() | spectra(samples))
    mel = logarithm = mfcc = None
    if spectrum is not None and draw(st.booleans()):
        low = draw(st.floats(0.0, sample_rate / 2 - 2.0))
        mel = Mel(
            bands=draw(st.integers(1, 20)),
            scale=draw(st.sampled_from(("htk", "slaney"))),
            triangles=draw(st.sampled_from(("hertz", "mel"))),
            low_hz=low,
            high_hz=draw(st.floats(low + 1.5, sample_rate / 2)),
            norm=draw(st.sampled_from(("none", "slaney"))),
            extra=draw(UNKNOWN),
        )
    if spectrum is not None and draw(st.booleans()):
        logarithm = draw(logarithms())
    if mel is not None and logarithm is not None and draw(st.booleans()):
        mfcc = Mfcc(coefficients=draw(st.integers(1, mel.bands)), extra=draw(UNKNOWN))
    wanted = ["time"] if spectrum is None else ["time", "feature"]
    axes = [*wanted, *draw(st.lists(st.sampled_from(("batch", "channel")), max_size=2, unique=True))]
    bare = Sound(
        sample_rate=sample_rate,
        channels=draw(st.sampled_from(("mono", "mix"))),
        samples=samples,
        full_scale=draw(st.floats(1.0, 65_536.0)),
        layout=tuple(draw(st.permutations(axes))),
        spectrum=spectrum,
        mel=mel,
        logarithm=logarithm,
        mfcc=mfcc,
        normalization=None,
    )
    return replace(
        bare,
        normalization=draw(st.none() | normalizations(bare.features)),
        proof=SoundProof(recording="sound/recording.wav", expected="sound/input.npy", extra=draw(UNKNOWN)),
        extra=draw(UNKNOWN),
    )


def members(name: str) -> st.SearchStrategy[Member]:
    return extended(Member, name=st.just(name), size_bytes=COUNTS, digest=DIGESTS)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    target = draw(st.text("abz09_-", min_size=1, max_size=8).map("t{}".format))
    numbers = st.lists(st.integers(0, 999_999_999), min_size=1, max_size=6)
    versions = numbers.map(lambda parts: ".".join(map(str, parts)))
    inputs = [draw(tensors(f"in{index}")) for index in range(draw(st.integers(1, 3)))]
    sound = draw(st.none() | sounds())
    takes_texts = sound is None and draw(st.booleans())
    if takes_texts:
        shape = (1, draw(st.integers(1, 9)))
        inputs = [
            replace(
                tensor, shape=shape, source_axes=(0, 1), source_name=f"{tensor.name} of {tensor.source_name}"
            )
            for tensor in inputs
        ]
    outputs = [draw(tensors(f"out{index}")) for index in range(draw(st.integers(1, 2)))]
    if sound is not None:
        axes = tuple(range(len(sound.shape)))
        inputs = [replace(inputs[0], shape=sound.shape, source_axes=axes)]
    golden = tuple(
        GoldenSample(
            inputs=tuple(f"golden/{number}/in{index}.npy" for index in range(len(inputs))),
            outputs=tuple(f"golden/{number}/out{index}.npy" for index in range(len(outputs))),
            extra=draw(UNKNOWN),
        )
        for number in range(draw(st.integers(0, 2)))
    )
    names = [name for sample in golden for name in (*sample.inputs, *sample.outputs)]
    proof = ("sound/recording.wav", "sound/input.npy") if sound is not None else ()
    features = tuple(draw(st.lists(st.text(WORD, min_size=1, max_size=8), max_size=3, unique=True)))
    return Manifest(
        name=draw(st.text(IDENTIFIER, max_size=8).map("m{}".format)),
        version=draw(st.text("19.az+-", max_size=6).map("0{}".format)),
        target=target,
        profile_digest=draw(DIGESTS),
        model_digest=draw(DIGESTS),
        data_digest=draw(DIGESTS),
        format=draw(st.sampled_from(manifest_codec._FORMATS)),
        requires=draw(
            extended(
                Requires,
                target=st.just(target),
                engine=st.sampled_from(manifest_codec._ENGINES),
                engine_min_versions=st.dictionaries(
                    st.text("az-", min_size=1, max_size=6), versions, min_size=1, max_size=4
                ),
                agent_min_version=versions,
                processor_features=st.just(features),
                otherwise=st.none() | st.just("other") if features else st.none(),
                manifest_features=st.lists(
                    st.sampled_from(("crop", "sound", "text", "later")), max_size=3, unique=True
                ).map(tuple),
            )
        ),
        payload=tuple(draw(members(f"payload/{index}")) for index in range(draw(st.integers(1, 2)))),
        members=tuple(draw(members(name)) for name in [*names, *proof, "plan.json"]),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        preprocessing=None if takes_texts or sound is not None else draw(st.none() | preprocessings()),
        golden=golden,
        tolerance=draw(
            extended(
                Tolerance,
                max_lsb=st.integers(0, (1 << 31) - 1),
                min_share_within_one=st.floats(0, 1),
                absolute=st.floats(0, FLOAT32_MAX),
            )
        ),
        verdict=draw(st.sampled_from(manifest_codec._VERDICTS)),
        made_with=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        heat=draw(st.none() | heats()),
        sound=sound,
        text=draw(text_inputs(inputs, "plan.json")) if takes_texts else None,
        schema_version=f"1.{draw(st.integers(0, 999_999_999))}",
        extra=draw(UNKNOWN),
    )


# --- messages ---

ENVELOPES = st.builds(
    Envelope,
    time=st.floats(0.0, 253402300799.0),
    boot_id=BOOT_IDS,
    seq=COUNTS,
    uptime_seconds=AMOUNTS,
    clock=st.sampled_from(("synced", "unsynced", "floor")),
    artifact=st.none() | DIGESTS,
)
BASE = {"envelope": ENVELOPES, "schema_version": st.integers(0, 999_999_999).map("1.{}".format)}


def optional_numbers(draw: st.DrawFn, counts: tuple[str, ...], amounts: tuple[str, ...]) -> dict[str, Any]:
    """Numbers, some of them absent, each with its reason then."""
    numbers: dict[str, Any] = {name: draw(st.none() | COUNTS) for name in counts}
    numbers |= {name: draw(st.none() | AMOUNTS) for name in amounts}
    absent = {name: draw(TEXTS) for name, value in numbers.items() if value is None}
    return {**numbers, "absent": absent}


def base(draw: st.DrawFn) -> dict[str, Any]:
    return {**{name: draw(strategy) for name, strategy in BASE.items()}, "extra": draw(UNKNOWN)}


@st.composite
def inference_windows(draw: st.DrawFn) -> InferenceWindow:
    counts = draw(
        st.dictionaries(st.integers(-999_999_999, 999_999_999), st.integers(1, 1 << 40), max_size=4)
    )
    zeros = draw(st.integers(0, 9))
    quantiles = tuple(f"latency_{part}_seconds" for part in ("min", "max", "p50", "p90", "p95", "p99"))
    return InferenceWindow(
        **base(draw),
        **optional_numbers(draw, (), ("throughput_per_second", *quantiles)),
        window_seconds=draw(st.floats(5e-324, 1e300)),
        inferences_total=draw(COUNTS),
        errors_total=draw(COUNTS),
        dropped_frames_total=draw(COUNTS),
        latency_count=zeros + sum(counts.values()),
        latency_sum_seconds=draw(AMOUNTS),
        model=draw(st.none() | MODEL_NAMES),
        variant=draw(VARIANTS),
        hist=ExponentialHistogram(scale=draw(st.integers(-10, 20)), zero_count=zeros, counts=counts),
    )


@st.composite
def input_sketches(draw: st.DrawFn) -> InputSketch:
    sides = [
        draw(st.dictionaries(st.sampled_from(INPUT_BUCKETS), st.integers(1, 1 << 40), max_size=4))
        for _ in "ab"
    ]
    zeros = draw(st.integers(0 if any(sides) else 1, 9))
    return InputSketch(
        name=draw(TEXTS),
        value_count=zeros + sum(sum(side.values()) for side in sides),
        mean=draw(REALS),
        deviation=draw(AMOUNTS),
        minimum=draw(REALS),
        maximum=draw(REALS),
        saturated_ratio=draw(st.none() | st.floats(0.0, 1.0)),
        zero_count=zeros,
        negative=sides[0],
        positive=sides[1],
    )


@st.composite
def input_windows(draw: st.DrawFn) -> InputWindow:
    return InputWindow(
        **base(draw),
        model=draw(st.none() | MODEL_NAMES),
        variant=draw(VARIANTS),
        frame_count=draw(st.integers(1, 1 << 40)),
        inputs=tuple(draw(st.lists(input_sketches(), min_size=1, max_size=3))),
    )


@st.composite
def system_samples(draw: st.DrawFn) -> SystemSample:
    bytes_ = (
        "process_rss",
        "process_pss",
        "memory_available",
        "memory_total",
        "swap_used",
        "storage_available",
        "spool",
    )
    counts = (*(f"{name}_bytes" for name in bytes_), "spool_messages", "spool_dropped_total")
    amounts = ("cpu_ratio", "process_cpu_ratio", "load_1m", "cpu_frequency_hertz")
    later = tuple(f"{of}_pressure_ratio" for of in ("cpu", "memory", "io"))
    numbers = optional_numbers(draw, counts, (*amounts, *later))
    for name in later:
        if draw(st.booleans()):  # an older agent says nothing of it
            numbers["absent"].pop(name, None)
    return SystemSample(**base(draw), **numbers)


@st.composite
def sensor_samples(draw: st.DrawFn, kind: Any) -> Any:
    readings, absent = [], {}
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        full = name + draw(st.sampled_from(sorted(SUFFIXES)))
        if full in ("uptime_seconds",) or any(reading.name == full for reading in readings):
            continue
        value = draw(st.none() | REALS)
        if value is None:
            absent[full] = draw(TEXTS)
        there = st.sampled_from(("counter", "sampled", "estimated"))
        quality = "unavailable" if value is None else draw(there)
        readings.append(
            Reading(name=full, value=value, source=draw(TEXTS), scope=draw(TEXTS), quality=quality)
        )
    return kind(**base(draw), readings=tuple(readings), absent=absent)


@st.composite
def outputs(draw: st.DrawFn) -> TopK | Raw | Summary:
    name, shape = draw(TEXTS), draw(SHAPES.filter(lambda shape: math.prod(shape) <= 40))
    size = math.prod(shape)
    form = draw(st.sampled_from((TopK, Raw, Summary)))
    if form is Summary:
        return Summary(name=name, shape=shape, minimum=draw(REALS), maximum=draw(REALS), mean=draw(REALS))
    count = size if form is Raw else draw(st.integers(1, min(size, 5)))
    values = tuple(draw(st.lists(REALS, min_size=count, max_size=count)))
    if form is Raw:
        return Raw(name=name, shape=shape, values=values)
    index = st.integers(0, size - 1)
    indices = tuple(draw(st.lists(index, min_size=count, max_size=count)))
    return TopK(name=name, shape=shape, indices=indices, values=values)


SEVERITIES = st.sampled_from(("info", "warning", "error"))
FACTS = st.dictionaries(TEXTS, SCALARS, max_size=4)
MESSAGES: dict[str, st.SearchStrategy[Any]] = {
    "inference": inference_windows(),
    "input": input_windows(),
    "system": system_samples(),
    "thermal": sensor_samples(ThermalSample),
    "power": sensor_samples(PowerSample),
    "birth": extended(
        Birth,
        **BASE,
        agent_version=TEXTS,
        python_version=TEXTS,
        engine=st.none() | TEXTS,
        engine_version=st.none() | TEXTS,
        model_name=st.none() | TEXTS,
        model_version=st.none() | TEXTS,
        target=st.none() | TEXTS,
        host=FACTS,
        models=st.lists(
            st.builds(
                RunningModel,
                model=MODEL_NAMES,
                variant=VARIANTS,
                artifact=st.none() | DIGESTS,
                model_name=st.none() | TEXTS,
                model_version=st.none() | TEXTS,
                target=st.none() | TEXTS,
                engine=st.none() | TEXTS,
                engine_version=st.none() | TEXTS,
            ),
            max_size=3,
        ).map(tuple),
    ),
    "health": extended(
        Health,
        **BASE,
        status=st.sampled_from(("up", "down", "degraded", "draining")),
        pid=st.none() | COUNTS,
        reason=TEXTS | st.just(""),
    ),
    "reported": extended(
        Reported,
        **BASE,
        group=st.none() | DEVICE_IDS,
        targets=st.lists(TEXTS, max_size=3).map(tuple),
        desired_serial=COUNTS,
        desired=st.none() | DIGESTS,
        in_trial=st.booleans(),
        on_probation=st.booleans(),
        counter_floor=COUNTS,
    ),
    "alarm": extended(Alarm, **BASE, severity=SEVERITIES, text=TEXTS),
    "event": extended(
        Event, **BASE, device=DEVICE_IDS, name=NAMES, severity=SEVERITIES, text=TEXTS, details=FACTS
    ),
    "command": extended(
        CommandState,
        **BASE,
        status=st.sampled_from(("executing", "successful")),
        code=st.just(""),
        reason=TEXTS | st.just(""),
        result=FACTS,
    ),
    "result": extended(
        Result,
        **BASE,
        frame=TEXTS,
        latency_seconds=AMOUNTS,
        outputs=st.lists(outputs(), max_size=3).map(tuple),
        model=st.none() | MODEL_NAMES,
        variant=VARIANTS,
    ),
}

# --- topics and units ---


@st.composite
def topics(draw: st.DrawFn) -> Topic:
    category = draw(st.sampled_from(("m", "e", "a", "o", "i", "twin", "cmd", "status")))
    name, detail = draw(NAMES), ""
    if category == "twin":
        name = draw(st.sampled_from(("desired", "reported")))
    if category == "status":
        name = draw(st.sampled_from(("health", "birth")))
    if category == "m":
        detail = draw(st.sampled_from(("", "meta")))
    if category == "cmd":
        detail = draw(st.text(IDENTIFIER, min_size=1, max_size=8))
    service = AGENT_SERVICE if category == "status" else ""
    return Topic(device=draw(DEVICE_IDS), category=category, name=name, detail=detail, service=service)


ROOTS = st.lists(st.text(IDENTIFIER, min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
UNITS = st.dictionaries(TEXTS, st.builds(Unit, unit=TEXTS, otel=TEXTS), max_size=4)
