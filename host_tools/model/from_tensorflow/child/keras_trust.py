"""What a Keras configuration may name, asked before anything is rebuilt from it: rebuilding runs what it names. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from host_tools.model.from_tensorflow.child.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_DEPTH = 200
_CODE = frozenset({"Lambda", "__lambda__"})
_HOMES = re.compile(r"(tf_)?keras(\.src)?(\.api)?(\._tf_keras\.keras)?(\.[\w.]+)?")
_NO_MODEL = re.compile(r"(^|\.)(utils|saving|datasets|callbacks|wrappers|config|testing)(\.|$)")
_ARITHMETIC = re.compile(r"(^|\.)(activations|initializers|ops|nn)(\.|$)")
_CALLS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_FUNCTIONS = re.compile(
    r"(compat\.v1\.)?((math|nn|image|linalg|signal|bitwise|__operators__)\.\w+"
    r"|(abs|add|argmax|argmin|cast|clip_by_value|concat|cos|divide|equal|exp|expand_dims|fill|gather|gather_nd|greater|greater_equal"
    r"|identity|less|less_equal|logical_and|logical_not|logical_or|matmul|maximum|minimum|multiply|negative|norm|not_equal|one_hot|ones"
    r"|ones_like|pad|pow|range|rank|reduce_\w+|repeat|reshape|reverse|roll|round|shape|sigmoid|sign|sin|size|slice|split|sqrt|square"
    r"|squeeze|stack|strided_slice|subtract|tan|tanh|tile|transpose|truediv|unstack|where|zeros|zeros_like))"
)
_EXPORT = (
    "Export the model where its code is, with model.export('folder') of Keras 3 or tf.saved_model.save, and give that folder: "
    "a SavedModel holds the graph instead of names of classes."
)


def require_trusted(config: object) -> None:
    """Refuse a configuration that carries code, or that would run anything but Keras' own layers.

    Args:
        config: The model's configuration, parsed from JSON.

    Raises:
        Refusal: Python code (Lambda), classes or functions from elsewhere, calls that are no tensor arithmetic; each by name.
    """
    for entry in _entries(config):
        kind, inner = entry["class_name"], entry.get("config")
        name = inner.get("name", kind) if isinstance(inner, dict) else kind
        if kind in _CODE:
            raise Refusal(
                f"layer {name!r} is Python code in the file ({kind}), which is never run here.",
                hint=f"Write it as a layer of Keras (Rescaling, Activation, keras.ops). {_EXPORT}",
            )
        if kind in _CALLS:
            _require_arithmetic(name, inner)
        elif not _is_keras(entry):
            raise Refusal(
                f"{name!r} is of the class {entry.get('registered_name') or kind}, which is not a part of Keras.",
                hint=_EXPORT,
            )


def _entries(config: object) -> Iterator[dict[str, Any]]:
    """Walk everything that names a class, without recursion: a hostile file nests as deep as it likes."""
    waiting: list[tuple[object, int]] = [(config, 0)]
    while waiting:
        found, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise Refusal(
                "its configuration is nested too deep to be a model's.", hint="Save the model again."
            )
        if isinstance(found, dict):
            if isinstance(found.get("class_name"), str):
                yield found
            waiting.extend((one, depth + 1) for one in found.values())
        elif isinstance(found, list):
            waiting.extend((one, depth + 1) for one in found)


def _is_keras(entry: dict[str, Any]) -> bool:
    module, registered = entry.get("module"), entry.get("registered_name")
    if registered is not None and ">" in str(registered):
        return False
    if module is None:  # Keras 2 names classes only, and looks them up among its own
        return True
    if not isinstance(module, str):
        return False
    if module == "builtins":
        return str(entry["class_name"]).startswith("__")
    is_part = _HOMES.fullmatch(module) is not None and _NO_MODEL.search(module) is None
    return is_part and (entry["class_name"] != "function" or _ARITHMETIC.search(module) is not None)


def _require_arithmetic(name: str, inner: object) -> None:
    function = inner.get("function") if isinstance(inner, dict) else None
    if function is not None and not (isinstance(function, str) and _FUNCTIONS.fullmatch(function)):
        raise Refusal(
            f"layer {name!r} calls tf.{function}, which is not among the tensor functions that a file may call.",
            hint=_EXPORT,
        )
