"""Whatever is done to a profile's text, `parse` gives a profile or a `ProfileError`."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import catalog
from targets.errors import ProfileError

if TYPE_CHECKING:
    from targets.profile import CapabilityProfile

TEXTS = tuple(
    resources.files("targets").joinpath("profiles").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    for name in ("x86_64-onnxruntime", "cortex-a-tflite", "cortex-a-tflite-legacy")
)
VALUES = st.sampled_from(
    [
        "8", "-1", "0", "1e400", "nan", "-inf", "true", '""', '"none"', '"int8"', "[]", "[[]]", "{}", "[1, 2]",
        "{ is = 8 }", '["Conv"]', '[["Conv", "Relu"]]', "1979-05-27T07:32:00Z", "07:32:00", '"\\u0000"',
        "{ scale = 0.1, zero_point = 1 }", "99999999999999999999999999", "0x7f", "'''x'''",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    lines = draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["drop", "double", "value", "fact", "swap", "insert", "splice"]))
        line = lines[at]
        if kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "double":
            lines.insert(at, line)
        elif kind == "value":
            lines[at] = f"{line.split('=')[0]}= {draw(VALUES)}"
        elif kind == "fact":
            lines[at] = f'{line.split("=")[0]}= {{ is = {draw(VALUES)}, source = "float32" }}'
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "insert":
            lines.insert(at, draw(st.text(max_size=12)))
        else:
            cut = draw(st.integers(0, len(line)))
            lines[at] = line[:cut] + draw(st.text(max_size=4)) + line[cut + 1 :]
    return "\n".join(lines)


def outcome(text: str) -> CapabilityProfile | ProfileError:
    try:
        return catalog.parse(text, origin="fuzz.toml")
    except ProfileError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_profile_is_a_profile_or_a_profile_error(text: str) -> None:
    result = outcome(text)
    if isinstance(result, ProfileError):
        assert str(result).startswith(("fuzz.toml: ", "x86_64-onnxruntime.toml: ", "cortex-a-tflite.toml: "))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_profile_error(text: str) -> None:
    with pytest.raises(ProfileError):
        catalog.parse(text, origin="fuzz.toml")
