"""Writes the tiny networks that the tests convert into the folder argv[1]; run once a session, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import tensorflow as tf

FOLDER = Path(sys.argv[1])


class Sine(keras.layers.Layer):
    """A layer unknown to whoever loads a .keras file; its operator has no 16x8 form."""

    def call(self, tensor: object) -> object:
        """Apply the function."""
        return tf.sin(tensor)


class InverseError(keras.layers.Layer):
    """A layer whose operator TFLite does not know."""

    def call(self, tensor: object) -> object:
        """Apply the function."""
        return tf.math.erfinv(tensor)


def classifier(*extra: keras.layers.Layer, shape: tuple[int | None, ...] = (8, 8, 3)) -> keras.Model:
    """Return a network for `shape` and four classes."""
    image = keras.Input(shape)
    tensor = image
    for layer in (
        keras.layers.Conv2D(16, 3, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.DepthwiseConv2D(3),
        *extra,
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(4, activation="softmax"),
    ):
        tensor = layer(tensor)
    return keras.Model(image, tensor)


keras.utils.set_random_seed(7)
usual = classifier()
usual.save(FOLDER / "net.keras")
usual.save(FOLDER / "net.h5")
usual.export(FOLDER / "net_saved", verbose=False)
classifier(Sine()).export(FOLDER / "sine_saved", verbose=False)
classifier(InverseError()).export(FOLDER / "unknown_saved", verbose=False)
classifier(Sine()).save(FOLDER / "custom.keras")
classifier(shape=(None, None, 3)).save(FOLDER / "sizeless.keras")
left, right = keras.Input((4,)), keras.Input((4,))
keras.Model([left, right], keras.layers.Add()([left, right])).save(FOLDER / "two_inputs.keras")
keras.Model(left, [left + 1, left + 2]).save(FOLDER / "two_outputs.keras")
tokens = keras.Input((4,), dtype="int32")
keras.Model(tokens, keras.layers.Embedding(8, 3)(tokens)).save(FOLDER / "tokens.keras")
usual.save_weights(FOLDER / "only.weights.h5")


def write_tflite(name: str, tensor: keras.KerasTensor, *layers: keras.layers.Layer) -> None:
    """Write the float32 .tflite of `layers` on `tensor`, which has a batch of 1."""
    end = tensor
    for layer in layers:
        end = layer(end)
    content = tf.lite.TFLiteConverter.from_keras_model(keras.Model(tensor, end)).convert()
    (FOLDER / name).write_bytes(content)


image, row = keras.Input((8, 8, 3), batch_size=1), keras.Input((24,), batch_size=1)
write_tflite("float.tflite", image, usual)
write_tflite("convolutions.tflite", image, keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D())
write_tflite("weightless.tflite", image, keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D())
write_tflite("dense.tflite", row, keras.layers.Dense(64, activation="relu"), keras.layers.Dense(4))
