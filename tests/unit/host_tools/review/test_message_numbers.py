"""Numbers heard, in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from host_tools.review.message_numbers import MessageNumbers


@given(st.lists(st.integers(0, 60)))
def test_as_a_set_would(numbers: list[int]) -> None:
    heard, expected = MessageNumbers(), set[int]()
    for number in numbers:
        assert heard.add(number) == (number not in expected)
        expected.add(number)
    span = max(expected) - min(expected) + 1 if expected else 0
    assert heard.missing == span - len(expected)


def test_memory_does_not_grow_with_what_was_heard() -> None:
    heard = MessageNumbers()
    for number in range(10_000):
        heard.add(number)
    assert len(heard._firsts) == len(heard._lasts) == 1
