"""Which side infers a frame: the same always, by ratio, whatever the ids; and what becomes of a side that fails."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import EngineError
from device_agent.engines.null import NullEngine
from device_agent.inference import Meter
from device_agent.split import Assignment, Side, Split

IDS = st.text(st.characters(), max_size=12)  # halves of characters too: names of files may have them


@settings(max_examples=200, deadline=None)
@given(st.floats(0.0, 1.0), st.text(max_size=8), st.lists(IDS, max_size=20))
def test_a_frame_goes_to_the_same_side_always_and_never_back_as_the_share_grows(
    ratio: float, seed: str, ids: list[str]
) -> None:
    first, again = Assignment(ratio=ratio, seed=seed), Assignment(ratio=ratio, seed=seed)
    sides = {frame: first.variant_of(frame) for frame in ids}
    assert sides == {frame: again.variant_of(frame) for frame in reversed(ids)}
    more = Assignment(ratio=min(1.0, ratio + 0.1), seed=seed)
    assert all(more.variant_of(frame) == "b" for frame, side in sides.items() if side == "b")
    assert {Assignment(ratio=0.0, seed=seed).variant_of(frame) for frame in ids} <= {"a"}
    assert {Assignment(ratio=1.0, seed=seed).variant_of(frame) for frame in ids} <= {"b"}


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("form", ["{}", "camera-{}", "photo_{:06d}.jpg"])
def test_the_share_is_kept_within_chance(ratio: float, form: str) -> None:
    count = 20_000
    assignment = Assignment(ratio=ratio, seed="s")
    to_b = sum(assignment.variant_of(form.format(number)) == "b" for number in range(count))
    assert abs(to_b - ratio * count) < 5.0 * (count * ratio * (1.0 - ratio)) ** 0.5


def test_another_seed_chooses_others_independently() -> None:
    one, other = Assignment(ratio=0.5, seed="1"), Assignment(ratio=0.5, seed="2")
    both = Counter((one.variant_of(str(n)), other.variant_of(str(n))) for n in range(4_000))
    assert all(800 < count < 1_200 for count in both.values())


def test_the_assignment_is_the_documented_one() -> None:
    """Whoever reads results elsewhere can tell the side of a frame by what docs/agent.md says."""
    from hashlib import blake2b

    key = blake2b(b"spring", digest_size=32).digest()
    assignment = Assignment(ratio=0.3, seed="spring")
    for number in range(500):
        hashed = blake2b(str(number).encode(), digest_size=8, key=key).digest()
        assert (assignment.variant_of(str(number)) == "b") == (int.from_bytes(hashed, "big") / 2**64 < 0.3)


def split_of(given_up: list[str], *, ratio: float = 0.5) -> tuple[Split, Side, Side]:
    engine: Any = NullEngine(["x"], {"y": 4}, 0.0)
    a, b = Side(engine, Meter(), None), Side(engine, Meter(), None)
    assignment = Assignment(ratio=ratio, seed="0")
    return Split(a, b, assignment=assignment, max_consecutive_errors=3, give_up_b=given_up.append), a, b


def test_side_b_is_given_up_after_so_many_failures_in_a_row_and_a_takes_its_frames() -> None:
    given_up: list[str] = []
    split, a, b = split_of(given_up)
    (frame, *_) = [str(number) for number in range(9) if split.side_of(str(number)) is b]
    for _ in range(2):
        split.failed(frame, EngineError("broken"))
    b.inferred(1)
    for _ in range(2):
        split.failed(frame, EngineError("broken"))
    assert not given_up
    split.failed(frame, EngineError("broken at last"))
    assert given_up == ["3 inferences failed in a row, the last one with: broken at last"]
    assert split.side_of(frame) is a
    assert (b.meter.errors_total, b.meter.inferences_total, split.inferences_total) == (5, 1, 1)


def test_side_a_that_fails_ends_the_loop() -> None:
    split, *_ = split_of([], ratio=0.0)
    for _ in range(2):
        split.failed("1", EngineError("broken"))
    with pytest.raises(EngineError, match="3 inferences failed in a row, the last one with: broken"):
        split.failed("1", EngineError("broken"))
