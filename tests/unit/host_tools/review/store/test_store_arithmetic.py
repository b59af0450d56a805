"""Clocks, numbers and histograms in columns against the classes that take one message at a time, and exact quantiles."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.telemetry.message import Envelope
from device_agent.telemetry.histogram import Histogram
from host_tools.review.analysis import percentiles
from host_tools.review.boot_clock import BootClock
from host_tools.review.message_numbers import MessageNumbers
from host_tools.review.store import clock_evidence, histograms, message_ledger
from host_tools.review.store.clock_notes import clock_note
from host_tools.review.store.message_ledger import Stretches
from host_tools.review.store.windows import Histograms

START = 1_700_000_000.0
BUCKET_WIDTH = 2.0 ** (1 / 32) - 1
"""Of scale 5, relative."""
CLOCKS = ("synced", "unsynced", "floor")
Message = tuple[int, float, float, float, str]
"""Number, time, uptime, time of receipt, clock."""


@st.composite
def heard_runs(draw: st.DrawFn) -> list[Message]:
    error = draw(st.sampled_from([0.0, 0.3, -3.0, 3.0, -600.0, 600.0, -1e8]))
    set_at = draw(st.sampled_from([10**9, 10, 40]))
    late = draw(st.sampled_from([0, 0, 50, 80]))
    clock = draw(st.sampled_from(CLOCKS))
    delays = random.Random(draw(st.integers(0, 2**32)))
    found = []
    for second in range(draw(st.integers(1, 80))):
        is_wrong = second < set_at
        received = START + (late + 1 + second * 0.01 if second < late else second + delays.random() * 1.2)
        time = START + second + (error if is_wrong else 0.0)
        found.append((second, time, float(second), received, clock if is_wrong else "synced"))
    return found


def hear(state: clock_evidence.Matrix, messages: list[Message]) -> clock_evidence.Matrix:
    seq, time, uptime, received, clock = (list(column) for column in zip(*messages, strict=True))
    return clock_evidence.hear(
        state,
        clock_evidence.Heard(
            place=np.zeros(len(messages), dtype=np.int64), seq=np.array(seq), time=np.array(time),
            uptime=np.array(uptime), received=np.array(received), clock=np.array([CLOCKS.index(one) for one in clock]),
        ),
    )  # fmt: skip


@given(heard_runs(), st.randoms(use_true_random=False))
def test_a_clock_in_columns_is_a_boot_clock_in_any_order(
    messages: list[Message], chance: random.Random
) -> None:
    expected = BootClock()
    for seq, time, uptime, received, clock in sorted(messages, key=lambda one: (one[3], one[0])):
        expected.hear(
            Envelope(time=time, boot_id="b", seq=seq, uptime_seconds=uptime, clock=clock, artifact=None),
            received,
        )  # type: ignore[arg-type]
    at_once = hear(clock_evidence.NOTHING[None], messages)
    rest, state = messages + chance.sample(messages, len(messages) // 3), clock_evidence.NOTHING[None]
    chance.shuffle(rest)
    while rest:
        size = chance.randint(1, len(rest))
        state, rest = hear(state, rest[:size]), rest[size:]
    assert np.array_equal(state, at_once)
    assert clock_evidence.is_wrong(state).tolist() == [expected.is_wrong]
    assert clock_note(state) == expected.note
    moments = clock_evidence.moments(
        clock_evidence.is_wrong(state), clock_evidence.starts(state), np.array([5.0]), np.array([7.0])
    )
    stamp = Envelope(time=5.0, boot_id="b", seq=1, uptime_seconds=7.0, clock="synced", artifact=None)
    assert moments.tolist() == [expected.moment(stamp)]


def stretches(of: list[tuple[int, int, int]]) -> Stretches:
    boot, first, last = np.array(of, dtype=np.int64).reshape(-1, 3).T
    return Stretches(
        boot=boot,
        first=first,
        last=last,
        time=first * 1.0,
        uptime=first * 2.0,
        artifact=first,
        closed=first * 0,
    )


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20) | st.just(2**63 - 1)), max_size=8),
        max_size=6,
    )
)
def test_numbers_in_columns_are_message_numbers(batches: list[list[tuple[int, int]]]) -> None:
    numbers: dict[int, MessageNumbers] = {}
    there: set[tuple[int, int, int]] = set()
    for batch in batches:
        before = holes_by_first(there)
        added = message_ledger.add(
            stretches(sorted(there)), stretches([(boot, seq, seq) for boot, seq in batch])
        )
        assert added.is_new.tolist() == [
            numbers.setdefault(boot, MessageNumbers()).add(seq) for boot, seq in batch
        ]
        there -= as_set(added.removed)
        there |= as_set(added.written)
        assert added.written.time.tolist() == added.written.first.astype(float).tolist()
        # Whatever begins elsewhere, or has another hole before it, is told.
        changed = set(before.items()) ^ set(holes_by_first(there).items())
        assert {key for key, _ in changed} <= {(boot, first) for boot, first, _ in as_set(added.shifted)}
    for boot, expected in numbers.items():
        own = sorted((first, last) for of, first, last in there if of == boot)
        assert own == list(zip(expected._firsts, expected._lasts, strict=True))
        assert (
            sum(missing for (of, _), missing in holes_by_first(there).items() if of == boot)
            == expected.missing
        )


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=12), max_size=8),
    st.integers(1, 4),
)
def test_of_a_run_with_too_many_holes_the_oldest_are_closed_and_counted(
    batches: list[list[tuple[int, int]]], most: int
) -> None:
    heard: dict[int, set[int]] = {}
    given_up: dict[int, set[int]] = {}
    there = stretches([])
    for batch in batches:
        numbers = stretches([(boot, seq, seq) for boot, seq in batch])
        added, closed = message_ledger.close_oldest(there, message_ledger.add(there, numbers), most)
        for (boot, seq), is_new in zip(batch, added.is_new.tolist(), strict=True):
            known = heard.setdefault(boot, set()) | given_up.setdefault(boot, set())
            assert is_new == (seq not in known)
            if is_new:
                heard[boot].add(seq)
        told = dict(zip(closed.boot.tolist(), closed.closed.tolist(), strict=True))
        for boot, own in heard.items():
            before = len(given_up[boot])
            while len(runs := as_runs(own | given_up[boot])) > most:
                given_up[boot] |= set(range(runs[0][1] + 1, runs[1][0]))
            assert told.get(boot, 0) == len(given_up[boot]) - before
        gone = as_set(added.removed)
        kept = [
            one not in gone
            for one in zip(there.boot.tolist(), there.first.tolist(), there.last.tolist(), strict=True)
        ]
        there = message_ledger._joined(there.at(np.array(kept, dtype=bool)), added.written)
        there = there.at(np.lexsort((there.first, there.boot)))
        for boot, own in heard.items():
            mine = there.at(there.boot == boot)
            assert list(zip(mine.first.tolist(), mine.last.tolist(), strict=True)) == as_runs(
                own | given_up[boot]
            )
            assert int(mine.closed.sum()) == len(given_up[boot])


def as_runs(numbers: set[int]) -> list[tuple[int, int]]:
    ordered = sorted(numbers)
    firsts = [one for one in ordered if one - 1 not in numbers]
    lasts = [one for one in ordered if one + 1 not in numbers]
    return list(zip(firsts, lasts, strict=True))


def as_set(of: Stretches) -> set[tuple[int, int, int]]:
    return set(zip(of.boot.tolist(), of.first.tolist(), of.last.tolist(), strict=True))


def holes_by_first(there: set[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
    ordered = stretches(sorted(there))
    return dict(
        zip(
            zip(ordered.boot.tolist(), ordered.first.tolist(), strict=True),
            message_ledger.holes(ordered).tolist(),
            strict=True,
        )
    )


def histograms_of(rows: list[list[float]]) -> Histograms:
    found = []
    for row in rows:
        one = Histogram()
        for value in row:
            one.record(round(value * 1e9))
        found.append(one.buckets())
    lengths = [len(one) for one in found]
    return Histograms(
        scale=5,
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        indices=np.array([index for one in found for index, _ in one], dtype=np.int32),
        counts=np.array([count for one in found for _, count in one], dtype=np.int64),
        zero_counts=np.zeros(len(rows), dtype=np.int64),
    )


latencies = st.lists(st.lists(st.floats(1e-6, 1e3), max_size=12), min_size=1, max_size=8)


@given(latencies, st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4), st.data())
def test_merged_quantiles_are_within_the_error_of_exact_ones(
    rows: list[list[float]], shares: list[float], data: st.DataObject
) -> None:
    groups = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))), dtype=np.int64
    )
    merged = histograms.merge(histograms_of(rows), groups, 3)
    found = percentiles.quantiles(merged, shares)
    for group in range(3):
        values = np.sort(
            [
                round(value * 1e9) * 1e-9
                for row, of in zip(rows, groups, strict=True)
                if of == group
                for value in row
            ]
        )
        if not len(values):
            assert np.isnan(found[group]).all()
            continue
        # A share of a whole number of values may come out on either side of it.
        low, high = (
            values[np.clip(np.ceil(np.array(shares) * len(values) + slack), 1, len(values)).astype(int) - 1]
            for slack in (-1e-9, 1e-9)
        )
        assert np.all(found[group] >= low * (1 - BUCKET_WIDTH * 1.0001))
        assert np.all(found[group] <= high * (1 + BUCKET_WIDTH * 1.0001))


@given(latencies, st.integers(-3, 5))
def test_a_lower_scale_counts_the_same_in_wider_buckets(rows: list[list[float]], scale: int) -> None:
    fine = histograms_of(rows)
    lowered = replace(fine, scale=scale, indices=histograms.lowered(fine.indices, 5 - scale))
    coarse = histograms.merge(lowered, np.arange(len(rows)), len(rows))
    for row in range(len(rows)):
        expected: dict[int, int] = {}
        for place in range(fine.offsets[row], fine.offsets[row + 1]):
            index = int(fine.indices[place]) // 2 ** (5 - scale)
            expected[index] = expected.get(index, 0) + int(fine.counts[place])
        own = slice(coarse.offsets[row], coarse.offsets[row + 1])
        assert dict(zip(coarse.indices[own].tolist(), coarse.counts[own].tolist(), strict=True)) == expected


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_counts_beyond_what_a_float_holds_and_indices_far_apart_are_added_exactly(seed: int) -> None:
    chance = np.random.default_rng(seed)
    count = 40
    hist = Histograms(
        scale=20,
        offsets=np.arange(0, 2 * count + 1, 2),
        indices=np.stack((chance.integers(-(2**30), 0, count), chance.integers(0, 2**30, count)), axis=1)
        .astype(np.int32)
        .reshape(-1),
        counts=chance.integers(2**53, 2**55, 2 * count),
        zero_counts=chance.integers(0, 3, count),
    )
    merged = histograms.merge(hist, np.zeros(count, dtype=np.int64), 1)
    assert int(merged.counts.sum()) == sum(map(int, hist.counts))
    assert merged.zero_counts.tolist() == [int(hist.zero_counts.sum())]
    assert merged.indices.tolist() == sorted(set(hist.indices.tolist()))
