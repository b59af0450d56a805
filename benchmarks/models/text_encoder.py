"""The ONNX graph of a small BERT with mean pooling, from the weights of a package that brings no graph.

Source: Devlin et al., "BERT", 2019, section 3; Vaswani et al., "Attention is all you need", 2017, section 3.2; the names of the weights are those
of the Transformers library.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LENGTH: Final = 64
"""Tokens a sentence."""

_HEADS: Final = 12
_EPSILON: Final = 1e-12
_OPSET: Final = 20  # the first with Gelu
_IR_VERSION: Final = 9
_TYPES: Final = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def vocabulary_of(content: bytes) -> dict[str, int]:
    """Return the number of each piece of a ``vocab.txt``."""
    return {piece: number for number, piece in enumerate(content.decode().splitlines())}


def read_safetensors(content: bytes) -> dict[str, NDArray[np.generic]]:
    """Return the tensors of a ``.safetensors`` file, by name.

    Raises:
        InputError: It is cut short, or has a type that is not known here.
    """
    try:
        (size,) = struct.unpack_from("<Q", content)
        table = json.loads(content[8 : 8 + size])
        table.pop("__metadata__", None)
        return {
            name: np.frombuffer(
                content[8 + size + one["data_offsets"][0] : 8 + size + one["data_offsets"][1]],
                _TYPES[one["dtype"]],
            ).reshape(one["shape"])
            for name, one in table.items()
        }
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(f"The weights are no sound .safetensors file: {error!r}.") from error


def build_encoder(content: bytes) -> onnx.ModelProto:
    """Return the encoder: ``input_ids`` and ``attention_mask`` (1, `LENGTH`) int64 to ``embedding`` (1, hidden), of length 1.

    Args:
        content: The ``.safetensors`` file.

    Raises:
        InputError: A weight is absent.
    """
    builder = _Builder(read_safetensors(content))
    hidden = builder.encoded()
    builder.pooled(hidden)
    width = builder.width
    tokens = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, LENGTH])
        for name in ("input_ids", "attention_mask")
    ]
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, width])
    graph = helper.make_graph(
        builder.nodes, "text_encoder", tokens, [embedding], initializer=builder.initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Builder:
    """Collects nodes and constants."""

    def __init__(self, weights: Mapping[str, NDArray[np.generic]]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._known: set[str] = set()
        self.width = int(self._weight("embeddings.word_embeddings.weight").shape[1])

    def encoded(self) -> str:
        """Add embeddings and all layers; return the last hidden state, (1, `LENGTH`, width)."""
        words = self._node("Gather", [self._named("embeddings.word_embeddings.weight"), "input_ids"])
        places = self._weight("embeddings.position_embeddings.weight")[:LENGTH]
        kinds = self._weight("embeddings.token_type_embeddings.weight")[0]
        state = self._node("Add", [words, self._constant("places", places + kinds)])
        state = self._normalised(state, "embeddings.LayerNorm")
        mask = self._mask()
        layers = {name.split(".")[2] for name in self.weights if name.startswith("encoder.layer.")}
        for index in range(len(layers)):
            state = self._layer(state, f"encoder.layer.{index}", mask)
        return state

    def pooled(self, hidden: str) -> None:
        """Add the mean over the tokens that count, brought to length 1, as ``embedding``."""
        mask = self._node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        mask = self._node("Unsqueeze", [mask, self._constant("last", np.asarray([2], np.int64))])
        tokens = self._constant("tokens", np.asarray([1], np.int64))
        total = self._node("ReduceSum", [self._node("Mul", [hidden, mask]), tokens], keepdims=0)
        mean = self._node("Div", [total, self._node("ReduceSum", [mask, tokens], keepdims=0)])
        length = self._node("ReduceL2", [mean, tokens], keepdims=1)
        self._node("Div", [mean, length], output="embedding")

    def _mask(self) -> str:
        """Add what keeps padding out of the softmax, (1, 1, 1, `LENGTH`): 0 or -10000."""
        mask = self._node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        mask = self._node("Unsqueeze", [mask, self._constant("heads", np.asarray([1, 2], np.int64))])
        left_out = self._node("Sub", [self._constant("one", np.float32(1.0)), mask])
        return self._node("Mul", [left_out, self._constant("never", np.float32(-10000.0))])

    def _layer(self, state: str, name: str, mask: str) -> str:
        attended = self._attention(state, f"{name}.attention.self", mask)
        attended = self._linear(attended, f"{name}.attention.output.dense")
        state = self._normalised(self._node("Add", [attended, state]), f"{name}.attention.output.LayerNorm")
        inner = self._node("Gelu", [self._linear(state, f"{name}.intermediate.dense")])
        outer = self._linear(inner, f"{name}.output.dense")
        return self._normalised(self._node("Add", [outer, state]), f"{name}.output.LayerNorm")

    def _attention(self, state: str, name: str, mask: str) -> str:
        split = self._constant("split", np.asarray([1, LENGTH, _HEADS, self.width // _HEADS], np.int64))
        query, key, value = (
            self._node("Reshape", [self._linear(state, f"{name}.{part}"), split])
            for part in ("query", "key", "value")
        )
        query = self._node("Transpose", [query], perm=[0, 2, 1, 3])
        key = self._node("Transpose", [key], perm=[0, 2, 3, 1])
        value = self._node("Transpose", [value], perm=[0, 2, 1, 3])
        scale = self._constant("scale", np.float32((self.width // _HEADS) ** -0.5))
        scores = self._node("Add", [self._node("Mul", [self._node("MatMul", [query, key]), scale]), mask])
        mixed = self._node("MatMul", [self._node("Softmax", [scores], axis=-1), value])
        joined = self._constant("joined", np.asarray([1, LENGTH, self.width], np.int64))
        return self._node("Reshape", [self._node("Transpose", [mixed], perm=[0, 2, 1, 3]), joined])

    def _linear(self, data: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._weight(f"{name}.weight").T)
        return self._node("Add", [self._node("MatMul", [data, weight]), self._named(f"{name}.bias")])

    def _normalised(self, data: str, name: str) -> str:
        factors = [self._named(f"{name}.weight"), self._named(f"{name}.bias")]
        return self._node("LayerNormalization", [data, *factors], epsilon=_EPSILON)

    def _weight(self, name: str) -> NDArray[np.float32]:
        if name not in self.weights:
            raise InputError(f"The weights have no tensor {name!r}; they are of another network.")
        return np.asarray(self.weights[name], np.float32)

    def _named(self, name: str) -> str:
        return self._constant(name, self._weight(name))

    def _constant(self, name: str, values: NDArray[np.generic] | np.generic) -> str:
        if name not in self._known:
            self._known.add(name)
            self.initializers.append(
                numpy_helper.from_array(np.ascontiguousarray(values).reshape(np.shape(values)), name)
            )
        return name

    def _node(self, kind: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name
