"""What a Keras configuration may name. Nothing is rebuilt here: the answer comes before Keras is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.model.from_tensorflow.child.keras_trust import require_trusted
from host_tools.model.from_tensorflow.child.refusal import Refusal, cause


def layer(
    class_name: str, module: str | None = "keras.layers", registered: str | None = None, **config: object
) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": "it", **config},
        "registered_name": registered,
    }


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "class_name": "Functional",
        "module": "keras.src.models.functional",
        "config": {"layers": [*layers]},
    }


@pytest.mark.parametrize(
    "good",
    [
        layer("Dense"),
        layer("Conv2D", None),
        layer("ReLU", "tf_keras.layers"),
        layer("Dense", kernel_initializer=layer("GlorotUniform", "keras.initializers")),
        layer(
            "Dense", activation={"module": "keras.activations", "class_name": "function", "config": "gelu"}
        ),
        layer("Dense", dtype=layer("DTypePolicy", "keras")),
        layer("Add", "keras.src.ops.numpy"),
        layer("__keras_tensor__", "builtins"),
        layer("TFOpLambda", None, function="math.multiply"),
        layer("TFOpLambda", "keras.src.layers.core.tf_op_layer", function="compat.v1.nn.relu6"),
        layer("SlicingOpLambda", None, function="__operators__.getitem"),
        layer("Normalization", "keras.src.layers.preprocessing.normalization"),
    ],
)
def test_what_keras_brings_is_trusted(good: dict[str, Any]) -> None:
    require_trusted(model(good))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (layer("Lambda"), "Python code in the file"),
        (layer("Lambda", None), "Python code in the file"),
        (
            layer("Dense", activation={"class_name": "__lambda__", "config": {"value": "4wAAA"}}),
            "Python code in the file",
        ),
        (layer("Doubling", None, "ours>Doubling"), "ours>Doubling"),
        (layer("Doubling", "__main__"), "not a part of Keras"),
        (layer("Popen", "subprocess"), "not a part of Keras"),
        (layer("Dense", "kerasevil.layers"), "not a part of Keras"),
        (layer("Dense", 7), "not a part of Keras"),  # type: ignore[arg-type]
        (
            layer("Dense", activation={"module": "builtins", "class_name": "function", "config": "eval"}),
            "not a part of Keras",
        ),
        (
            layer(
                "Dense", activation={"module": "keras.utils", "class_name": "function", "config": "get_file"}
            ),
            "not a part of Keras",
        ),
        (
            layer("Dense", activation={"module": "keras.layers", "class_name": "function", "config": "x"}),
            "not a part of Keras",
        ),
        (layer("get_file", "keras.src.utils.file_utils"), "not a part of Keras"),
        (layer("load_model", "keras.saving"), "not a part of Keras"),
        (layer("TFOpLambda", None, function="io.write_file"), "tf.io.write_file"),
        (layer("TFOpLambda", None, function="load_op_library"), "tf.load_op_library"),
        (layer("TFOpLambda", None, function="math.multiply\n.io"), "not among the tensor functions"),
        (layer("TFOpLambda", None, function=["io"]), "not among the tensor functions"),
    ],
)
def test_what_would_run_code_is_refused(bad: dict[str, Any], said: str) -> None:
    for nested in (model(bad), model(layer("TimeDistributed", layer=bad)), [[{"deep": [bad]}]]):
        with pytest.raises(Refusal) as caught:
            require_trusted(nested)
        assert said in caught.value.message
        assert caught.value.hint


def test_a_configuration_without_end_is_refused() -> None:
    nested: object = layer("Dense")
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(Refusal, match="nested too deep"):
        require_trusted(nested)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["class_name", "module", "config", "registered_name", "function", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_trusted_or_refused(config: object) -> None:
    try:
        require_trusted(json.loads(json.dumps(config)))
    except Refusal as refusal:
        assert refusal.message


def test_the_cause_is_one_line() -> None:
    assert cause(ValueError("")) == "ValueError"
    assert cause(ValueError("\n one \n two")) == "ValueError: one"
    assert (
        cause(TypeError("config={pages}\nException encountered: Unknown layer\nmore"))
        == "TypeError: Unknown layer"
    )
    assert len(cause(ValueError("x" * 1000))) < 300
