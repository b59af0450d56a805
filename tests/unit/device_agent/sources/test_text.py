"""Texts to numbers by a real tokeniser, and everything that can be wrong with a text or a ``tokenizer.json``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import cache
from time import monotonic
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from device_agent.sources import text as text_module
from device_agent.sources.adapt import FrameError
from device_agent.sources.text import (
    MAX_TEXT_BYTES,
    TextReader,
    TokeniserError,
    library_version,
    require_plain_text,
    text_of,
)
from tests.integration.small_encoder import CATASTROPHIC, INPUTS, LENGTH, SENTENCES, tokenizer_json

TYPED = {**INPUTS, "token_type_ids": "types"}


@cache
def small() -> bytes:
    return tokenizer_json()


def changed(**parts: Any) -> bytes:
    return json.dumps(json.loads(small()) | parts).encode()


def reader(
    data: bytes | None = None, *, length: int = LENGTH, inputs: dict[str, str] | None = None
) -> TextReader:
    return TextReader(data or small(), length=length, inputs=inputs or INPUTS, where="tokenizer.json")


# --- numbers ---


@pytest.mark.parametrize("text", [*SENTENCES[:3], "héllo wörld", "a " * 200, "東京 😀", "\0"])
def test_a_text_becomes_what_the_library_gives_cut_and_filled(text: str) -> None:
    whole = Tokenizer.from_buffer(small())
    whole.no_padding()
    whole.no_truncation()
    ids = whole.encode(text).ids
    expected = [*ids[: LENGTH - 1], ids[-1]] if len(ids) > LENGTH else ids
    counts = [1] * len(expected) + [0] * (LENGTH - len(expected))
    arrays = reader(inputs=TYPED).arrays(text)
    assert list(arrays) == list(TYPED)
    assert all((array.dtype, array.shape) == (np.int64, (1, LENGTH)) for array in arrays.values())
    assert arrays["input_ids"][0].tolist() == expected + [0] * (LENGTH - len(expected))
    assert arrays["attention_mask"][0].tolist() == counts
    assert not arrays["token_type_ids"].any()
    assert reader(inputs={"x": "ids"}).numbers(text) == {"ids": tuple(arrays["input_ids"][0])}


def test_the_file_says_what_fills_and_at_which_end() -> None:
    padding = json.loads(small())["padding"]
    left = changed(padding=padding | {"direction": "Left", "pad_type_id": 1, "pad_to_multiple_of": 64})
    numbers = reader(left, inputs=TYPED).numbers("pump")
    filled = LENGTH - sum(numbers["mask"])
    assert numbers["mask"] == (0,) * filled + (1,) * (LENGTH - filled)
    assert numbers["types"] == (1,) * filled + (0,) * (LENGTH - filled)
    assert numbers["ids"][filled] == 2
    truncation = {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    last = reader(changed(truncation=truncation)).numbers("pump " * 40 + "filter")["ids"]
    first = reader().numbers("pump " * 40 + "filter")["ids"]
    word = reader().numbers("filter")["ids"][1]
    assert len(last) == LENGTH, "the length is the model's, not the file's"
    assert word in last
    assert word not in first


# --- a tokenizer.json that is none, or will not do ---


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", r"tokenizer\.json: not a tokenizer\.json that tokenizers \S+ reads: .*EOF"),
        (b"\xff\x00", "not a tokenizer.json"),
        (b"[]", "not a tokenizer.json"),
        (b'{"version": "1.0"}', "not a tokenizer.json that tokenizers .*Model missing"),
        (b"[" * 100_000, "not a tokenizer.json"),
    ],
)
def test_a_file_that_is_no_tokeniser_is_refused_with_the_librarys_reason(data: bytes, says: str) -> None:
    with pytest.raises(TokeniserError, match=says):
        reader(data or b" ")


def test_a_tokeniser_without_a_padding_token_is_refused() -> None:
    with pytest.raises(
        TokeniserError, match=r"does not say what fills: no padding token.*shorter than 16.*enable_padding"
    ):
        reader(changed(padding=None))
    padding = json.loads(small())["padding"]
    with pytest.raises(
        TokeniserError, match=r"fills with '\[PAD\]' as 3, which its vocabulary has as 0: no padding token"
    ):
        reader(changed(padding=padding | {"pad_id": 3}))
    with pytest.raises(TokeniserError, match=r"fills with '<pad>' as 0, which its vocabulary has as None"):
        reader(changed(padding=padding | {"pad_token": "<pad>"}))


def test_a_length_that_leaves_no_room_for_a_text_is_refused() -> None:
    with pytest.raises(TokeniserError, match=r"of 2 tokens it sets 2 by itself.*Is text\.length the length"):
        reader(length=2)
    assert sum(reader(length=3).numbers("pump filter")["mask"]) == 3


def test_a_tokeniser_that_leaves_out_merges_at_random_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE(dropout=0.3, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=120, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    )
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    with pytest.raises(TokeniserError, match=r"leaves out merges at random \(model\.dropout\)"):
        reader(tokenizer.to_str().encode())
    tokenizer.model.dropout = None
    assert reader(tokenizer.to_str().encode()).numbers("pump")["mask"][0] == 1


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        TokeniserError,
        match=r"library tokenizers, which cannot be imported.*pip install 'edgewright\[text\]'",
    ):
        library_version()
    with pytest.raises(TokeniserError, match="cannot be imported"):
        reader(b"{}")


def test_without_numpy_which_the_null_engine_lacks_it_says_so() -> None:
    code = """
import sys
sys.modules["numpy"] = None
from types import SimpleNamespace
from device_agent.contract.errors import IncompatibleError
from device_agent.sources.artifact_text import require_library
require_library(SimpleNamespace(text=None))
try:
    require_library(SimpleNamespace(text="some", name="m", version="1.0"))
except IncompatibleError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == (
        "m 1.0 takes texts, for which numpy is needed, which is not installed. pip install numpy\n"
    ), done.stderr


def test_a_text_that_the_tokeniser_has_no_numbers_for_is_refused_alone() -> None:
    model = json.loads(small())["model"]
    without = {piece: number for piece, number in model["vocab"].items() if piece != "[UNK]"}
    lacking = reader(
        changed(
            model=model | {"vocab": without},
            added_tokens=[
                token for token in json.loads(small())["added_tokens"] if token["content"] != "[UNK]"
            ],
        )
    )
    with pytest.raises(FrameError, match=r"the tokeniser fails at the text '東京': .*UNK"):
        lacking.arrays("東京")
    assert lacking.numbers("the pump")["mask"][2] == 1


def test_a_panic_of_the_library_is_an_error_like_any_other() -> None:
    class PanicException(BaseException):  # as PyO3 names what it makes of one
        pass

    def panicking() -> None:
        with text_module._without_panic():
            raise PanicException("index out of range")

    with pytest.raises(RuntimeError, match="its library panics: index out of range"):
        panicking()
    with pytest.raises(KeyboardInterrupt), text_module._without_panic():
        raise KeyboardInterrupt


@given(st.data())
def test_any_bytes_are_a_tokeniser_or_refused(data: st.DataObject) -> None:
    spoiled = bytearray(small())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(spoiled)))
        end = start + data.draw(st.sampled_from((0, 1, 2, 30)))
        spoiled[start:end] = data.draw(
            st.binary(max_size=4) | st.sampled_from((b"null", b"-1", b"1e99", b'""', b"[]"))
        )
    try:
        numbers = reader(bytes(spoiled)).numbers("The pump, 東京!")
    except (TokeniserError, FrameError):
        return
    assert {len(part) for part in numbers.values()} == {LENGTH}


def test_a_pattern_that_tries_very_many_ways_holds_nobody_up() -> None:
    """The library gives it up by itself only after ten million tries at one place, and would hold the interpreter's lock all the while."""
    text = "a" * 60 + "b"
    lost = TextReader(
        changed(pre_tokenizer=CATASTROPHIC), length=LENGTH, inputs=INPUTS, where="t", seconds=0.05
    )
    ticks, done = [], threading.Event()

    def ticking() -> None:
        while not done.wait(0.005):
            ticks.append(monotonic())

    other = threading.Thread(target=ticking)
    other.start()
    with pytest.raises(
        FrameError, match=r"the tokeniser takes longer than 0\.05 s, at the text 'aaa.*pattern"
    ):
        lost.numbers(text)
    with pytest.raises(FrameError, match=r"the tokeniser is still at an earlier one, at the text 'pump'"):
        lost.numbers("pump")
    came = len(ticks)
    assert lost._bounded._lost is not None
    lost._bounded._lost.join(300.0)
    done.set()
    other.join()
    assert len(ticks) > came, "other threads go on while the library searches"
    assert lost.numbers("pump")["ids"] == reader(changed(pre_tokenizer=CATASTROPHIC)).numbers("pump")["ids"]
    with pytest.raises(FrameError, match=r"the tokeniser fails at the text .aaa.*: its library panics"):
        reader(changed(pre_tokenizer=CATASTROPHIC)).numbers(text)


# --- a text ---


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"pump", "pump"),
        (b"pump\n", "pump"),
        (b"pump\r\n", "pump"),
        (b"pump\n\n", "pump\n"),
        (b" pump ", " pump "),
        (b"\xef\xbb\xbfpump", "pump"),
        ("Größe 東京 😀".encode(), "Größe 東京 😀"),
        (b"a" * MAX_TEXT_BYTES, "a" * MAX_TEXT_BYTES),
    ],
)
def test_a_text_is_utf_8_without_mark_and_line_end(data: bytes, text: str) -> None:
    assert text_of(data, where="t") == text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a" * (MAX_TEXT_BYTES + 1), "t: expected a text of at most 65536 bytes, got more"),
        (b"caf\xe9", "t: expected UTF-8, got unexpected end of data at byte 3"),
        (b"caf\xe9 au lait", "t: expected UTF-8, got invalid continuation byte at byte 3"),
        ("pump".encode("utf-16"), "t: expected UTF-8, got invalid start byte at byte 0"),
        (b"", "t: expected a text, got none"),
        (b" \r\n", "t: expected a text, got none"),
    ],
)
def test_what_is_no_text_is_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        text_of(data, where="t")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_text_or_refused(data: bytes) -> None:
    try:
        text = text_of(data, where="t")
    except FrameError:
        return
    assert data.decode().removeprefix("\ufeff").startswith(text)
    reader().arrays(text)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "TEXT/Plain; charset=UTF-8",
        'text/plain;charset="utf-8"',
        "text/plain; charset=us-ascii; x=y",
    ],
)
def test_plain_text_in_utf_8_is_taken_and_what_nobody_names(media_type: str) -> None:
    require_plain_text(media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/html",
        "text/plain; charset=latin-1",
        "text/plain; charset=utf-16",
        "\x00" * 500,
    ],
)
def test_other_kinds_of_text_are_refused(media_type: str) -> None:
    with pytest.raises(FrameError, match=r"expected a text as text/plain; charset=utf-8, got .*Content-Type"):
        require_plain_text(media_type)
