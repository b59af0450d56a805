"""Run with TensorFlow: saves the small models of the tests in every format, with what Keras and TensorFlow themselves compute."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras

SAMPLES = 4


def images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1.0, 1.0, (SAMPLES, *shape)).astype(np.float32)


def randomised(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(3)
    model.set_weights(
        [
            (
                rng.uniform(0.5, 1.5, w.shape)
                if "variance" in v.name or "gamma" in v.name
                else rng.normal(0, 0.3, w.shape)
            ).astype(w.dtype)
            for v, w in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return model


def network(k) -> keras.Model:
    """A CNN with all that brings Transposes in: strided SAME padding, depthwise, residual, pooling, Flatten."""
    layers = k.layers
    x = picture = k.Input((16, 16, 3), name="picture")
    x = layers.Rescaling(0.5)(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = kept = layers.ReLU(max_value=6.0)(x)
    x = layers.DepthwiseConv2D(3)(layers.ZeroPadding2D(1)(x))
    x = layers.Conv2D(8, 1, activation="relu")(x)
    x = layers.Add()([x, kept])
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(12, activation="relu")(x)
    return randomised(k.Model(picture, layers.Dense(5, activation="softmax", name="classes")(x)))


def two_inputs() -> keras.Model:
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    total = keras.layers.Dense(4, activation="gelu", name="total")(keras.layers.Concatenate()([left, right]))
    return randomised(
        keras.Model([right, left], [total, keras.layers.Activation("tanh", name="bounded")(total)])
    )


@keras.saving.register_keras_serializable("ours")
class Doubling(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


class Signatures(tf.Module):
    def __init__(self) -> None:
        self.weight = tf.Variable(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def up(self, x):
        return {"raised": tf.nn.relu(x @ self.weight)}

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def down(self, x):
        return {"lowered": tf.nn.sigmoid(-x @ self.weight)}


class Captured(tf.Module):
    """A constant that is no variable: a SavedModel keeps it beside the graph, and the function takes it in when it is loaded."""

    def __init__(self) -> None:
        self.weight = tf.constant(np.linspace(-2, 1, 12).reshape(4, 3).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def across(self, x):
        return {"crossed": x @ self.weight + self.weight[0]}


class Hard(tf.Module):
    """What is refused; each method is saved as a model of its own."""

    def __init__(self) -> None:
        self.weight = tf.Variable(np.ones((4, 3), np.float32))

    def until(self, x):
        return {
            "y": tf.while_loop(
                lambda v: tf.reduce_sum(v) < 100.0, lambda v: (v * 2.0 + self.weight[0, 0] + 3.0,), (x,)
            )[0]
        }

    def decomposed(self, x):
        return {"y": tf.linalg.cholesky(tf.reshape(x, (2, 2))) + self.weight[0, 0]}

    def python(self, x):
        return {"y": tf.py_function(lambda v: v, [x], tf.float32) + self.weight[0, 0]}


def main(folder: Path) -> None:
    expected = {}
    for name, k in (("new", keras), ("old", tf_keras)):
        model = network(k)
        model.save(folder / ("new.keras" if k is keras else "old.h5"))
        expected[name] = np.asarray(model(images((16, 16, 3)), training=False))
        if k is keras:
            model.export(str(folder / "exported"), verbose=False)
    pair = two_inputs()
    pair.save(folder / "pair.keras")
    left, right = images((6,)), images((6,))[::-1]
    expected["total"], expected["bounded"] = (np.asarray(one) for one in pair([right, left], training=False))

    signatures = Signatures()
    tf.saved_model.save(
        signatures, str(folder / "several"), signatures={"up": signatures.up, "down": signatures.down}
    )
    expected["lowered"] = np.asarray(signatures.down(images((4,)))["lowered"])
    captured = Captured()
    tf.saved_model.save(captured, str(folder / "captured"), signatures={"serving_default": captured.across})
    expected["crossed"] = np.asarray(captured.across(images((4,)))["crossed"])
    for name in ("until", "decomposed", "python"):
        hard = Hard()
        traced = tf.function(getattr(hard, name)).get_concrete_function(
            tf.TensorSpec((1, 4), tf.float32, name="x")
        )
        tf.saved_model.save(hard, str(folder / name), signatures={"serving_default": traced})
    tf.saved_model.save(Hard(), str(folder / "unsigned"))

    step = keras.Input((4,), name="x")
    keras.Model(step, keras.layers.Lambda(lambda x: x * 2)(step)).save(folder / "lambda.keras")
    keras.Model(step, Doubling()(step)).save(folder / "custom.keras")
    marker = str(folder / "ran")
    code = tf_keras.layers.Lambda(lambda x: (__import__("pathlib").Path(marker).touch(), x)[1])
    model = tf_keras.Sequential([tf_keras.Input((4,)), code])
    model.save(folder / "lambda.h5")
    (folder / "ran").unlink()
    for name in ("linked.h5", "vast.h5"):
        shutil.copy(folder / "old.h5", folder / name)
    with h5py.File(folder / "linked.h5", "a") as file:
        file["model_weights"]["outside"] = h5py.ExternalLink("old.h5", "/model_weights")
    with h5py.File(folder / "vast.h5", "a") as file:
        file.create_dataset("vast", shape=(1 << 40,), dtype="float64", chunks=(1 << 10,))
    pair.save_weights(folder / "only.weights.h5")
    np.savez(
        folder / "expected.npz",
        picture=images((16, 16, 3)),
        left=left,
        right=right,
        x=images((4,)),
        **expected,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
