"""Fine-tunings of the shared MobileNet, made once: the last layer alone, all layers gently, all layers hard; each under four schemes.

Run as a module it makes what is missing; TensorFlow stays in that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
FOLDER = ROOT / ".ota" / "fine-tunings"
SCHEMES = ("int8", "dynamic_range", "float16", "float32")
RECIPES: dict[str, tuple[float, int, bool] | None] = {
    "base": None,
    "last": (1e-4, 1, True),
    "gentle": (1e-5, 1, False),
    "hard": (1e-4, 2, False),
}
"""Adam's learning rate, epochs, and whether only the last layer learns."""


def file_of(name: str, scheme: str) -> Path:
    """Return where a fine-tuning's file is."""
    return FOLDER / f"{name}-{scheme}.tflite"


def make_all() -> None:
    """Make what is missing, in a process of its own; some three minutes the first time."""
    if all(file_of(name, scheme).is_file() for name in RECIPES for scheme in SCHEMES):
        return
    print("fine-tuning the shared network three ways with TensorFlow: about three minutes, once", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.proofs.fine_tuning"],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the fine-tuning failed: {done.stderr[-2000:]}")


def _main() -> None:
    import tensorflow as tf  # noqa: PLC0415 - this process alone loads it

    FOLDER.mkdir(parents=True, exist_ok=True)
    images, classes = _training()
    for name, recipe in RECIPES.items():
        network = tf.keras.models.load_model(SHARED / "models" / "model.keras")
        if recipe is not None:
            _train(tf, network, images, classes, recipe)
        for scheme in SCHEMES:
            path = file_of(name, scheme)
            path.with_suffix(".tmp").write_bytes(_converted(tf, network, scheme))
            path.with_suffix(".tmp").replace(path)


def _train(tf: Any, network: Any, images: Any, classes: Any, recipe: tuple[float, int, bool]) -> None:
    rate, epochs, last = recipe
    if last:
        for layer in network.layers[:-1]:
            layer.trainable = False
    tf.keras.utils.set_random_seed(1)
    network.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    random = np.random.RandomState(0)
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            network.train_on_batch(_pixels(images[batch]), classes[batch])


def _converted(tf: Any, network: Any, scheme: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if scheme != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme == "int8":
        converter.representative_dataset = _representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def _representative() -> Iterator[list[Any]]:
    for path in sorted((SHARED / "waste" / "representative").glob("*/*.jpg")):
        yield [_pixels(_image(path.read_bytes()))[None]]


def _training() -> tuple[Any, Any]:
    with zipfile.ZipFile(SHARED / "waste" / "train224.zip") as photographs:
        names = sorted(name for name in photographs.namelist() if name.endswith(".jpg"))
        images = np.stack([_image(photographs.read(name)) for name in names])
    of = [Path(name).parent.name for name in names]
    known = sorted(set(of))
    return images, np.array([known.index(one) for one in of])


def _image(content: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"))


def _pixels(images: Any) -> Any:
    return images.astype("float32") / 127.5 - 1


if __name__ == "__main__":
    _main()
