"""Writes into the folder argv[2] what TensorFlow's converter makes of the SavedModel argv[1]: float32 and its ways to quantize.

Calibration is on noise, for only the graph matters here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

MODEL, FOLDER = sys.argv[1], Path(sys.argv[2])
_INT16X8 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def noise() -> Iterator[list[np.ndarray]]:
    """Yield two samples for calibration."""
    signature = tf.saved_model.load(MODEL).signatures["serving_default"]
    (entry,) = signature.structured_input_signature[1].values()
    generator = np.random.default_rng(0)
    for _ in range(2):
        yield [generator.uniform(-1, 1, (1, *entry.shape[1:])).astype(np.float32)]


def write(name: str, *, quantized: bool = True, **settings: object) -> None:
    """Convert with `settings` of the converter and write the file."""
    converter = tf.lite.TFLiteConverter.from_saved_model(MODEL)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantized else []
    for key, value in settings.items():
        if key == "supported_types":
            converter.target_spec.supported_types = value
        elif key == "supported_ops":
            converter.target_spec.supported_ops = value
        else:
            setattr(converter, key, value)
    (FOLDER / f"converter_{name}.tflite").write_bytes(converter.convert())


write("float32", quantized=False)
write("dynamic_range")
write("dynamic_range_compat", _experimental_disable_per_channel_quantization_for_dense_layers=True)
write("float16", supported_types=[tf.float16])
write("int8", representative_dataset=noise, supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8])
write(
    "int8_uint8_io", representative_dataset=noise, supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
    inference_input_type=tf.uint8, inference_output_type=tf.uint8,
)  # fmt: skip
write("int16x8", representative_dataset=noise, supported_ops=[_INT16X8])
