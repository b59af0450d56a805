"""Bytes that were sound, with a few changes: what fuzzing of parsers draws."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    content = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(["set", "flip", "word", "cut", "insert", "copy"]))
        if kind == "set" and content:
            content[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "word":
            word = draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data)]))
            content[at : at + 4] = word.to_bytes(4, "little")
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == "insert":
            content[at:at] = draw(st.binary(max_size=8))
        else:
            other = draw(st.integers(0, max(len(content) - 1, 0)))
            content[at : at + 8] = content[other : other + 8]
    return bytes(content)
