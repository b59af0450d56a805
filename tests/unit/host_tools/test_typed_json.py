"""Documents that come back as the types that they were written from, and everything that is wrong with others."""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import SchemaVersionError
from host_tools.errors import InputError
from host_tools.typed_json import TypedReader


@dataclasses.dataclass(frozen=True)
class Inner:
    kind: Literal["one", "two"]
    amounts: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    count: int
    right: bool
    share: float | None
    pair: tuple[str, int]
    inner: tuple[Inner, ...]


class WrongError(InputError):
    code = "wrong"


READER = TypedReader(Outer, version="1.2", error=WrongError, null_is_nan=False)
GOOD = {
    "schema_version": "1.7",
    "name": "n",
    "count": 3,
    "right": True,
    "share": None,
    "pair": ["a", 1],
    "inner": [{"kind": "two", "amounts": [1, 2.5], "newer": 0}],
    "newer": {},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "kind"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def read(document: object) -> Outer:
    return READER.decode(json.dumps(document).encode(), where="file.json")


def test_it_reads_what_the_types_say_and_passes_over_what_is_newer() -> None:
    assert read(GOOD) == Outer(
        name="n",
        count=3,
        right=True,
        share=None,
        pair=("a", 1),
        inner=(Inner(kind="two", amounts=(1.0, 2.5)),),
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": 3}, "file.json: name: expected text, got 3"),
        ({"count": 1.5}, "count: expected a whole number, got 1.5"),
        ({"count": True}, "count: expected a whole number, got True"),
        ({"right": 1}, "right: expected true or false, got 1"),
        ({"share": "x"}, "share: expected a finite number, got 'x'"),
        ({"share": True}, "share: expected a finite number"),
        ({"share": math.inf}, "share: expected a finite number"),
        ({"share": math.nan}, "share: expected a finite number"),
        ({"share": 10**400}, "share: expected a finite number"),
        ({"pair": ["a"]}, "pair: expected a list of 2"),
        ({"pair": "a"}, "pair: expected a list, got 'a'"),
        (
            {"inner": [{"kind": "three", "amounts": []}]},
            "inner[0].kind: expected one of one, two, got 'three'",
        ),
        ({"inner": [{"kind": "one"}]}, "inner[0].amounts: expected a value, got 'nothing'"),
        ({"inner": [4]}, "inner[0]: expected a table, got 4"),
        ({"inner": [{"kind": "one", "amounts": [None]}]}, "amounts[0]: expected a finite number, got None"),
        ({"schema_version": None}, "schema_version: expected a version"),
        ({"schema_version": "x.1"}, "schema_version: expected a version"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], expected: str) -> None:
    with pytest.raises(WrongError) as caught:
        read(GOOD | change)
    assert expected in str(caught.value)


def test_another_major_version_is_refused() -> None:
    with pytest.raises(SchemaVersionError, match=r"this reader knows version 1, got 2\.0"):
        read(GOOD | {"schema_version": "2.0"})


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"[]"])
def test_what_is_no_document(data: bytes) -> None:
    with pytest.raises(WrongError, match=r"file\.json: "):
        READER.decode(data, where="file.json")


def test_null_may_stand_for_what_was_not_finite() -> None:
    reader = TypedReader(Inner, version="1.0", error=WrongError, null_is_nan=True)
    found = reader.decode(b'{"schema_version": "1.0", "kind": "one", "amounts": [null]}', where="x")
    assert math.isnan(found.amounts[0])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD]), VALUES))
def test_nothing_gets_through_but_its_own_errors(change: dict[str, object]) -> None:
    with suppress(WrongError, SchemaVersionError):
        read(GOOD | change)
