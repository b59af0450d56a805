"""Calibration data that are texts, and the table ``[text]`` of ``preprocess.toml`` with everything that can be wrong in it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.contract.errors import ConfigError
from device_agent.contract.text_codec import MAX_TOKENS
from device_agent.sources.preprocess_file import parse_preparation
from device_agent.sources.text import MAX_TEXT_BYTES
from device_agent.sources.text_declaration import parse_text
from host_tools.errors import DataError, InputError
from host_tools.model import load
from host_tools.model.float_model import TensorSpec
from host_tools.observe import open_data
from host_tools.observe.preparation_file import find_preparation
from host_tools.observe.text_input import TextInput
from tests.integration.small_encoder import (
    CATASTROPHIC,
    LENGTH,
    SENTENCES,
    VOCABULARY,
    added,
    preprocess_toml,
    tokenizer_json,
    write_encoder,
    write_texts,
)

if TYPE_CHECKING:
    from pathlib import Path

IDS = TensorSpec(name="input_ids", shape=(1, LENGTH), dtype="int64")
MASK = TensorSpec(name="attention_mask", shape=(1, LENGTH), dtype="float32")
TYPES = TensorSpec(name="token_type_ids", shape=(1, LENGTH), dtype="int64")
GOOD: dict[str, object] = {"tokenizer": "tokenizer.json", "length": 16, "ids": "input_ids", "mask": "m"}


def template(type_of_text: int) -> dict[str, object]:
    """Return a post-processor that sets [CLS] before a text."""
    return {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": type_of_text}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
    }


def found(texts: Path) -> TextInput:
    text = find_preparation(None, texts)
    assert isinstance(text, TextInput)
    return text


# --- samples ---


def test_a_file_with_a_text_a_line_and_a_folder_of_texts_give_the_same_samples(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "lines")
    text = found(texts)
    folder = tmp_path / "folder"
    (folder / "more").mkdir(parents=True)
    for index, sentence in enumerate(SENTENCES):
        (folder / "more" / f"{index:02}.txt").write_text(sentence + "\n")
    lines = open_data(texts, inputs=(IDS, MASK), preparation=text)
    files = open_data(folder, inputs=(IDS, MASK), preparation=text)
    assert len(lines) == len(files) == len(SENTENCES)
    samples = list(lines)
    assert [sample.id for sample in samples] == [str(index) for index in range(len(SENTENCES))]
    assert [sample.id for sample in files][:2] == ["more/00.txt", "more/01.txt"]
    for sample, file, sentence in zip(samples, files, SENTENCES, strict=True):
        numbers = text.reader.numbers(sentence)
        assert sample.arrays["input_ids"].dtype == np.int64
        assert sample.arrays["attention_mask"].dtype == np.float32, "in the type that the model takes"
        assert tuple(sample.arrays["input_ids"][0]) == numbers["ids"]
        assert tuple(sample.arrays["attention_mask"][0]) == numbers["mask"]
        assert sample.digest() == file.digest()


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    texts = write_texts(tmp_path)
    texts.write_bytes("pump\u2028valve\x0bfilter\x85\r\n".encode() + b"b" * MAX_TEXT_BYTES + b"\r\nlast")
    text = found(texts)
    samples = list(open_data(texts, inputs=(IDS, MASK), preparation=text))
    assert len(samples) == 3
    whole = text.reader.numbers("pump\u2028valve\x0bfilter\x85")["ids"]
    assert tuple(samples[0].arrays["input_ids"][0]) == whole
    assert tuple(samples[2].arrays["input_ids"][0]) == text.reader.numbers("last")["ids"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"good\ncaf\xe9\n", r"texts\.txt: line 2: expected UTF-8, got unexpected end of data at byte 3"),
        (b"good\n\nmore\n", r"texts\.txt: line 2: expected a text, got none.*take it out"),
        (
            b"good\n" + b"a" * (MAX_TEXT_BYTES + 1),
            r"texts\.txt: line 2: expected a text of at most 65536 bytes",
        ),
        (b"", r"texts\.txt: no samples"),
    ],
)
def test_a_line_that_is_no_text_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    texts = write_texts(tmp_path)
    texts.write_bytes(content)
    with pytest.raises(DataError, match=says):
        list(open_data(texts, inputs=(IDS, MASK), preparation=found(texts)))


def test_a_text_of_more_bytes_than_are_declared_is_named(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "lines", max_bytes=30)
    with pytest.raises(DataError, match=r"texts\.txt: line 1: expected a text of at most 30 bytes, got more"):
        list(open_data(texts, inputs=(IDS, MASK), preparation=found(texts)))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text(SENTENCES[0])
    with pytest.raises(DataError, match=r"a\.txt: expected a text of at most 30 bytes, got more"):
        list(open_data(folder, inputs=(IDS, MASK), preparation=found(texts)))


def test_a_text_that_takes_too_long_is_named(tmp_path: Path) -> None:
    texts = write_texts(tmp_path, tokenizer_json(pre_tokenizer=CATASTROPHIC))
    text = found(texts)
    text.reader._bounded._seconds = 0.05
    texts.write_text("good\n" + "a" * 60 + "b\n")
    with pytest.raises(
        DataError, match=r"texts\.txt: line 2: the tokeniser takes longer than 0\.05 s, at the text 'aaa"
    ):
        list(open_data(texts, inputs=(IDS, MASK), preparation=text))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    text = found(write_texts(tmp_path / "lines"))
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"a\.txt: expected UTF-8, got invalid start byte at byte 0"):
        list(open_data(tmp_path, inputs=(IDS, MASK), preparation=text))


def test_numbers_that_an_inputs_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    texts = write_texts(tmp_path)
    narrow = replace(IDS, dtype="int8")
    texts.write_text(" ".join(SENTENCES[3:9]))
    with pytest.raises(
        DataError,
        match=r"line 1: input 'input_ids': int8 does not hold every number of a token, of which one is",
    ):
        list(open_data(texts, inputs=(narrow, MASK), preparation=found(texts)))


def test_a_fingerprint_hangs_on_texts_tokeniser_its_library_and_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = write_texts(tmp_path)

    def fingerprint() -> str:
        told = open_data(texts, inputs=(IDS, MASK), preparation=found(texts))._source.fingerprint(3)
        assert told is not None
        return told

    first = fingerprint()
    assert fingerprint() == first
    seen = {first}
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json() + b"\n")
    seen.add(fingerprint())
    (tmp_path / "preprocess.toml").write_text(preprocess_toml(length=12))
    seen.add(fingerprint())
    texts.write_text("other")
    seen.add(fingerprint())
    monkeypatch.setattr(
        "tokenizers.__version__", "0.99.0"
    )  # another one may give other numbers of the same file
    seen.add(fingerprint())
    assert len(seen) == 5


def test_texts_without_a_tokeniser_and_pictures_with_one_are_refused(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "lines")
    text = found(texts)
    with pytest.raises(
        DataError, match=r"texts\.txt holds texts, but nothing says how.*Put a preprocess\.toml"
    ):
        open_data(texts, inputs=(IDS, MASK))
    with pytest.raises(DataError, match=r"lines holds texts, but nothing says how"):
        open_data(texts.parent, inputs=(IDS, MASK))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with pytest.raises(DataError, match=r"no \.wav, no \.txt and no \.npy file among its 0 files"):
        open_data(pictures, inputs=(IDS, MASK), preparation=text)
    (pictures / "a.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"holds pictures, but its preprocess\.toml has no table \[preprocess\]"
    ):
        open_data(pictures, inputs=(IDS, MASK), preparation=text)


# --- the model's inputs ---


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (
            (IDS, MASK, TYPES),
            r"does not say what the model's input 'token_type_ids' takes.*Write types = \"token_type_ids\"",
        ),
        ((IDS,), r"text\.mask: the model has no input 'attention_mask'.*Its inputs are input_ids"),
        (
            (IDS, replace(MASK, shape=(1, 12))),
            r"text\.length: the model's input 'attention_mask' has shape \(1, 12\), 16 tokens give \(1, 16\)",
        ),
        (
            (replace(IDS, shape=(LENGTH,)), MASK),
            r"text\.length: the model's input 'input_ids' has shape \(16,\)",
        ),
        (
            (IDS, replace(MASK, dtype="bool")),
            r"the model's input 'attention_mask' is bool, which holds no numbers",
        ),
    ],
)
def test_inputs_that_a_text_does_not_give_are_refused(
    tmp_path: Path, inputs: tuple[TensorSpec, ...], says: str
) -> None:
    with pytest.raises(InputError, match=rf"preprocess\.toml: .*{says}"):
        found(write_texts(tmp_path)).require_inputs(inputs)


@pytest.mark.parametrize(
    ("changes", "fits", "says"),
    [
        ({}, True, ""),
        ({"added_tokens": [added(VOCABULARY, "<x>")]}, False, r"numbers up to 200 \('<x>'\) as ids"),
        (
            {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 900]}},
            False,
            r"numbers up to 900 as ids; the model's input 'input_ids' looks them up in 'words' \(node 'embed'\), which has 200 rows",
        ),
        (
            {"post_processor": template(type_of_text=2)},
            False,
            r"numbers up to 2 as types; the model's input 'token_type_ids' looks them up in 'kinds'",
        ),
        ({"post_processor": template(type_of_text=1)}, True, ""),
        (
            {
                "padding": {
                    "strategy": "BatchLongest",
                    "direction": "Right",
                    "pad_to_multiple_of": None,
                    "pad_id": 0,
                    "pad_type_id": 7,
                    "pad_token": "[PAD]",
                }
            },
            False,
            r"numbers up to 7 as types",
        ),
    ],
)
def test_numbers_beyond_the_models_tables_are_refused(
    tmp_path: Path, changes: dict[str, object], fits: bool, says: str
) -> None:
    model = load(write_encoder(tmp_path / "encoder.onnx", types=True))
    text = found(write_texts(tmp_path, tokenizer_json(**changes), types="token_type_ids"))
    if fits:
        text.require_rows(model.graph)
        return
    with pytest.raises(InputError, match=rf"preprocess\.toml: text\.tokenizer: tokenizer\.json gives {says}"):
        text.require_rows(model.graph)


# --- the tokeniser ---


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        (b"{}", r"tokenizer\.json: not a tokenizer\.json that tokenizers"),
        (tokenizer_json(padding=None), "no padding token"),
    ],
)
def test_a_tokeniser_that_cannot_be_used_is_refused_with_table_and_file(
    tmp_path: Path, tokenizer: bytes, says: str
) -> None:
    with pytest.raises(InputError, match=rf"preprocess\.toml: text\.tokenizer: .*{says}"):
        find_preparation(None, write_texts(tmp_path, tokenizer))


def test_a_tokeniser_that_is_not_there_or_without_its_library_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = write_texts(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"cannot be imported.*edgewright\[text\]"):
        find_preparation(None, texts)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json: cannot be read: No such file"):
        find_preparation(None, texts)


def test_samples_prove_the_tokeniser_in_every_script_and_show_nobodys_data(tmp_path: Path) -> None:
    texts = write_texts(tmp_path)
    samples = found(texts).samples
    assert len(samples) == 3
    assert any("é" in sample.text or "e\u0301" in sample.text for sample in samples)
    assert not set(SENTENCES) & {sample.text for sample in samples}
    assert all(
        len(sample.ids) == len(sample.mask or ()) == LENGTH and sample.types is None for sample in samples
    )


# --- preprocess.toml ---


def test_the_table_is_read_beside_texts_in_their_folder_or_by_name(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "data", types="token_type_ids")
    beside = found(texts)
    assert beside == found(texts.parent)
    assert beside == find_preparation(texts.parent / "preprocess.toml", None)
    assert dict(beside.declared.inputs) == {
        "input_ids": "ids", "attention_mask": "mask", "token_type_ids": "types",
    }  # fmt: skip
    assert find_preparation(None, texts.with_suffix(".npy")) is None


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("text = 3", r"p: expected a table \[text\]"),
        (
            "[text]\n[preprocess]",
            r"p: expected one table, \[preprocess\] for pictures, \[sound\] for recordings or \[text\] for texts; got text and preprocess",
        ),
        ("[text]\n[sound]", r"got text and sound"),
        ("[text]\nmaks = 1", r"p: text\.maks: unknown key\. Did you mean 'mask'\?"),
    ],
)
def test_a_file_has_one_table(document: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_preparation(document.encode(), origin="p")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (GOOD | {"maks": "m"}, r"p: text\.maks: unknown key\. Did you mean 'mask'\?"),
        (GOOD | {"zzz": 1}, r"p: text\.zzz: unknown key\. It knows tokenizer, length, ids, mask, types, max_bytes\.$"),
        ({"tokeniser": "t", "length": 16, "ids": "i"}, r"p: text\.tokeniser: unknown key\. Did you mean 'tokenizer'\?"),
        *((GOOD | {"max_bytes": value}, r"p: text\.max_bytes: expected bytes from 1 to 65536, got") for value in (0, MAX_TEXT_BYTES + 1, True, 2.0)),
        *(({k: v for k, v in GOOD.items() if k != key}, rf"p: text\.{key} is missing") for key in ("tokenizer", "length", "ids")),
        *((GOOD | {"length": value}, r"p: text\.length: expected tokens from 1 to 8192, got") for value in (0, MAX_TOKENS + 1, True, 16.0, "16")),
        *((GOOD | {key: value}, rf"p: text\.{key}: expected a text of 1 to 1024 characters") for key in ("tokenizer", "ids", "mask", "types") for value in ("", 3, "x" * 1025, "a\0")),
        (GOOD | {"types": "m"}, r"p: text\.ids, mask and types: expected an input for each, got 'm' twice"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_is_refused_by_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_text(table, origin="p")


@given(
    st.dictionaries(
        st.sampled_from(["tokenizer", "length", "ids", "mask", "types", "max_bytes", "other"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.integers(), max_size=2),
    )
)
def test_any_table_is_a_declaration_or_refused(table: dict[str, Any]) -> None:
    try:
        declared = parse_text(table, origin="p")
    except ConfigError as error:
        assert str(error).startswith("p: text.")
        return
    assert declared.length == table["length"]
    assert declared.inputs[table["ids"]] == "ids"
