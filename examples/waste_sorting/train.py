"""Makes the demo's network and its data: draws images, trains a small MobileNet v1, writes model, labels, representative and evaluation sets.

Run: python examples/waste_sorting/train.py [--epochs N]; it writes beside itself and prints the accuracy on the evaluation set.
The recipe is that of the published method: Adam, a cyclical learning rate, augmentation, 80/20.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf
from draw import CLASSES, SIDE, images
from PIL import Image

HERE = Path(__file__).parent
PER_CLASS = 1000
SEED = 20
WIDTH = 0.25
BATCH = 32
REPRESENTATIVE = 20
EVALUATION = 40


class CyclicalRate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises and falls in triangles between two bounds, the upper one lower with each cycle."""

    def __init__(self, low: float, high: float, half_cycle: int) -> None:
        super().__init__()
        self.low, self.high, self.half_cycle = low, high, half_cycle

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate at a step."""
        step = tf.cast(step, tf.float32)
        cycle = tf.floor(1 + step / (2 * self.half_cycle))
        place = tf.abs(step / self.half_cycle - 2 * cycle + 1)
        height = (self.high - self.low) * tf.maximum(0.0, 1 - place) / tf.pow(1.7, cycle - 1)
        return self.low + height

    def get_config(self) -> dict[str, float]:
        """Return what makes an equal one."""
        return {"low": self.low, "high": self.high, "half_cycle": self.half_cycle}


def as_jpeg(image: Image.Image) -> bytes:
    """Return the image as it is shipped; the network trains on the same bytes."""
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=82)
    return packed.getvalue()


def network() -> tf.keras.Model:
    """Return MobileNet v1 of width WIDTH with a dense head over the classes; input pixel/127.5 - 1."""
    body = tf.keras.applications.MobileNet(
        input_shape=(SIDE, SIDE, 3), alpha=WIDTH, weights=None, include_top=False, pooling="avg"
    )
    dropped = tf.keras.layers.Dropout(0.2)(body.output)
    return tf.keras.Model(body.input, tf.keras.layers.Dense(len(CLASSES), activation="softmax")(dropped))


def augmented(pixels: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror, shift and relight a training image [SIDE, SIDE, 3] in 0..255."""
    pixels = tf.image.random_flip_left_right(tf.image.random_flip_up_down(pixels))
    pixels = tf.image.random_crop(
        tf.image.pad_to_bounding_box(pixels, 6, 6, SIDE + 12, SIDE + 12), (SIDE, SIDE, 3)
    )
    pixels = tf.clip_by_value(tf.image.random_brightness(tf.cast(pixels, tf.float32), 25), 0, 255)
    return pixels / 127.5 - 1, label


def write(folder: Path, samples: list[tuple[str, bytes]]) -> None:
    """Write JPEGs as one folder a class."""
    shutil.rmtree(folder, ignore_errors=True)
    for number, (name, content) in enumerate(samples):
        path = folder / name / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    """Draw, split, train, write, and print the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=50)
    epochs = parser.parse_args().epochs
    tf.keras.utils.set_random_seed(SEED)
    train: list[tuple[str, bytes]] = []
    held: list[tuple[str, bytes]] = []
    for number, (name, image) in enumerate(images(PER_CLASS, SEED)):
        (held if number % 5 == 0 else train).append((name, as_jpeg(image)))
    shipped = [sample for name in CLASSES for sample in [s for s in held if s[0] == name][:EVALUATION]]
    calibration = [
        sample for name in CLASSES for sample in [s for s in train if s[0] == name][:REPRESENTATIVE]
    ]

    def arrays(samples: list[tuple[str, bytes]]) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for _, content in samples])
        return pixels, np.array([CLASSES.index(name) for name, _ in samples])

    x, y = arrays(train)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=SEED).map(augmented).batch(BATCH)
    steps = -(-len(x) // BATCH)
    model = network()
    model.compile(
        tf.keras.optimizers.Adam(CyclicalRate(2e-4, 8e-3, 5 * steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(data, epochs=epochs, verbose=2)
    held_x, held_y = arrays(held)
    shipped_x, shipped_y = arrays(shipped)
    bare = network()
    bare.set_weights(model.get_weights())
    # A network that was never compiled is saved without the optimizer's state: a third of the bytes.
    bare.save(HERE / "model.keras")
    (HERE / "labels.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    write(HERE / "representative", calibration)
    write(HERE / "evaluation", shipped)
    for name, pixels, labels in (("held out", held_x, held_y), ("evaluation", shipped_x, shipped_y)):
        right = model.predict(pixels / np.float32(127.5) - 1, verbose=0).argmax(axis=1) == labels
        print(f"{name}: {right.sum()} of {len(right)} right, accuracy {right.mean():.3f}")


if __name__ == "__main__":
    main()
