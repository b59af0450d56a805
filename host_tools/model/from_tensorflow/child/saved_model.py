"""A SavedModel: which of its signatures, and what its graph may hold. It is a program; Keras is not needed to read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from host_tools.model.from_tensorflow.child.computation import Computation
from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_USUAL = "serving_default"
_SERVING = "serve"
_REACHES_OUT = re.compile(
    r"(Eager)?PyFunc(Stateless)?|(Read|Write|Append)File|WholeFileReader(V2)?|MatchingFiles|ImmutableConst|(TextLine|TFRecord|FixedLength\w+)"
    r"(Reader|Dataset)(V2)?|Rpc\w*|RemoteCall|\w*Socket\w*|AudioSummary\w*|Write\w+Summary|CreateSummary\w+|LoadDataset\w*|SaveDataset\w*|Lmdb\w+|Sql\w+"
)


def read_saved_model(path: Path, signature: str | None) -> Computation:
    """Load a signature of a SavedModel.

    Args:
        path: The folder.
        signature: Its name; None: the only one, or ``serving_default``.

    Raises:
        Refusal: Damaged, with operators that run Python or touch files, or without such a signature.
    """
    _require_contained(path)
    try:
        loaded = tf.saved_model.load(str(path), tags=_tags(path))
    except Exception as error:  # whatever TensorFlow raises on a folder is that folder's fault
        raise Refusal(
            f"TensorFlow {tf.__version__} cannot load it ({cause(error)}).",
            hint="The folder may be incomplete (saved_model.pb and variables/ belong together) or cut short: copy or export it again.",
        ) from error
    chosen = _chosen(loaded, signature)
    concrete = loaded.signatures[chosen]
    by_name = concrete.structured_input_signature[1]
    names = sorted(by_name)
    if not names:
        raise Refusal(
            f"its signature {chosen!r} takes no inputs.", hint="Export one that takes the model's input."
        )

    def call(*tensors: Any) -> dict[str, Any]:
        return dict(concrete(**dict(zip(names, tensors, strict=True))))

    specs = tuple(tf.TensorSpec(by_name[name].shape, by_name[name].dtype, name=name) for name in names)
    outputs = tuple(sorted(str(name) for name in concrete.structured_outputs))
    return Computation(call=call, outputs=outputs, specs=specs, read_by={"signature": chosen}, owner=loaded)


def _graphs(path: Path) -> Any:
    message = saved_model_pb2.SavedModel()
    try:
        message.ParseFromString((path / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as error:
        raise Refusal(
            f"its saved_model.pb is no SavedModel, or was cut short ({cause(error)}).",
            hint="Copy or export it again.",
        ) from error
    if not message.meta_graphs:
        raise Refusal("its saved_model.pb holds no graph.", hint="Copy or export it again.")
    return message.meta_graphs


def _require_contained(path: Path) -> None:
    """Refuse a graph that runs Python or touches files before it is loaded: loading runs its initialisers."""
    for graph in _graphs(path):
        for node in _nodes(graph.graph_def):
            if _REACHES_OUT.fullmatch(node.op):
                raise Refusal(
                    f"its graph holds {node.op} ({node.name!r}), which runs Python or reaches for files.",
                    hint="Export the part of the model that computes with tensors alone.",
                    code="unsupported_operator",
                )


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _tags(path: Path) -> list[str] | None:
    """Return the tag of the graph that serves, where there are several; None where there is no choice."""
    return [_SERVING] if len(_graphs(path)) > 1 else None


def _chosen(loaded: Any, signature: str | None) -> str:
    names = sorted(str(name) for name in loaded.signatures if not name.startswith("__"))
    if not names:
        raise Refusal(
            "it has no signature, so nothing says what its inputs and outputs are.",
            hint="Save it with model.export('folder') of Keras 3, or tf.saved_model.save(model, folder, signatures=...).",
        )
    told = ", ".join(names)
    if signature is not None:
        if signature not in names:
            raise Refusal(
                f"it has no signature {signature!r}, but: {told}.",
                hint="Give one of them by --signature.",
                code="input",
            )
        return signature
    if len(names) == 1:
        return names[0]
    if _USUAL not in names:
        raise Refusal(f"it has several signatures: {told}.", hint="Choose one by --signature.", code="input")
    return _USUAL
