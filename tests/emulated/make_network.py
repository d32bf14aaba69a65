"""Writes a small untrained network of convolutions into the folder argv[1]: net.keras, whose outputs are spread, not saturated."""

from __future__ import annotations

import sys
from pathlib import Path

import keras

keras.utils.set_random_seed(11)
image = keras.Input((16, 16, 3))
tensor = image
for layer in (
    keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6"),
    keras.layers.DepthwiseConv2D(3, padding="same", activation="relu"),
    keras.layers.Conv2D(24, 1, activation="relu"),
    keras.layers.AveragePooling2D(2),
    keras.layers.Flatten(),
    keras.layers.Dense(128, activation="relu"),
    keras.layers.Dense(10),
):
    tensor = layer(tensor)
keras.Model(image, tensor).save(Path(sys.argv[1]) / "net.keras")
