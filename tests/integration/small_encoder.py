"""A tokeniser trained on a few sentences, and an encoder of its numbers and mask: real, and small enough for a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from pathlib import Path

LENGTH = 16
VOCABULARY = 200
WIDTH, OUTPUTS = 24, 8
INPUTS = {"input_ids": "ids", "attention_mask": "mask"}
SENTENCES = (
    "The pump in hall seven is running hot.",
    "Pressure falls when the valve is opened.",
    "Nobody has looked at the filter since spring.",
    "The belt slips; please tighten it before noon.",
    "All four sensors agree within half a degree.",
    "A bearing of motor two makes a grinding noise.",
    "The tank was filled to ninety percent at night.",
    "Vibration is normal, and the oil is clean.",
    "Somebody left the door of the cabinet open!",
    "Is the second compressor switched off today?",
    "Coolant leaks below the third heat exchanger.",
    "The alarm was false: a cable had come loose.",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

CATASTROPHIC = {
    "type": "Split",
    "pattern": {"Regex": "(a+)+$"},
    "behavior": "Isolated",
    "invert": False,
}
"""A pre-tokeniser that tries 2 to the power of n ways at n letters a before another one."""


def tokenizer_json(**changes: Any) -> bytes:
    """Return the ``tokenizer.json`` of an uncased WordPiece; ``changes`` replace parts of the document."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    return json.dumps(json.loads(tokenizer.to_str()) | changes, ensure_ascii=False).encode()


def added(number: int, content: str) -> dict[str, object]:
    """Return an added token as a ``tokenizer.json`` has it."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": True, **flags}


def preprocess_toml(**changes: object) -> str:
    """Return a ``preprocess.toml``; ``changes`` replace values, None takes a key away."""
    table: dict[str, object] = {
        "tokenizer": "tokenizer.json",
        "length": LENGTH,
        "ids": "input_ids",
        "mask": "attention_mask",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in (table | changes).items() if value is not None]
    return "\n".join(["[text]", *lines, ""])


def write_encoder(path: Path, *, types: bool = False) -> Path:
    """Write ``input_ids`` and ``attention_mask`` [1, 16] → embeddings, a layer, their mean where the mask is 1 → ``embedding`` [1, 8]."""
    rng = np.random.default_rng(4)
    constants: dict[str, np.ndarray] = {
        "words": rng.normal(0, 1, (VOCABULARY, WIDTH)).astype(np.float32),
        "inner": rng.normal(0, WIDTH**-0.5, (WIDTH, 2 * WIDTH)).astype(np.float32),
        "inner_bias": rng.normal(0, 0.1, 2 * WIDTH).astype(np.float32),
        "outer": rng.normal(0, WIDTH**-0.5, (2 * WIDTH, OUTPUTS)).astype(np.float32),
        "last": np.asarray([2], np.int64),
        "tokens": np.asarray([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["embedded"], "embed"),
        helper.make_node("MatMul", ["embedded", "inner"], ["widened"], "widen"),
        helper.make_node("Add", ["widened", "inner_bias"], ["biased"], "bias"),
        helper.make_node("Relu", ["biased"], ["active"], "relu"),
        helper.make_node("Cast", ["attention_mask"], ["counts"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["counts", "last"], ["mask"], "unsqueeze"),
        helper.make_node("Mul", ["active", "mask"], ["kept"], "keep"),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["total"], "sum", keepdims=0),
        helper.make_node("ReduceSum", ["mask", "tokens"], ["many"], "count", keepdims=0),
        helper.make_node("Div", ["total", "many"], ["mean"], "mean"),
        helper.make_node("MatMul", ["mean", "outer"], ["embedding"], "project"),
    ]
    names = ["input_ids", "attention_mask"]
    if types:
        names.append("token_type_ids")
        constants["kinds"] = rng.normal(0, 1, (2, WIDTH)).astype(np.float32)
        nodes[0] = helper.make_node("Gather", ["words", "input_ids"], ["of_words"], "embed")
        nodes.insert(1, helper.make_node("Gather", ["kinds", "token_type_ids"], ["of_kinds"], "embed_kinds"))
        nodes.insert(2, helper.make_node("Add", ["of_words", "of_kinds"], ["embedded"], "both"))
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [1, LENGTH]) for name in names],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, OUTPUTS])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def write_texts(folder: Path, data: bytes | None = None, /, **declared: object) -> Path:
    """Write ``texts.txt`` with its ``preprocess.toml`` and ``tokenizer.json`` into a folder; return the texts."""
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_bytes(data or tokenizer_json())
    (folder / "preprocess.toml").write_text(preprocess_toml(**declared))
    (folder / "texts.txt").write_text("\n".join(SENTENCES) + "\n")
    return folder / "texts.txt"
