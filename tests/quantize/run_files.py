"""Runs each .tflite of argv[2:] on the samples argv[1] (.npy, float32) and writes `<file>.npy` with its dequantized outputs."""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf

samples = np.load(sys.argv[1])
for file in sys.argv[2:]:
    interpreter = tf.lite.Interpreter(file)
    interpreter.allocate_tensors()
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for sample in samples:
        if entry["dtype"] is np.float32:
            value = sample
        else:
            scale, zero = entry["quantization"]
            value = np.clip(np.rint(sample / scale + zero), 0, 255).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], value[None])
        interpreter.invoke()
        output = interpreter.get_tensor(end["index"])[0].astype(np.float32)
        scale, zero = end["quantization"]
        outputs.append((output - zero) * scale if scale else output)
    np.save(f"{file}.npy", np.stack(outputs))
    operators = sorted({op["op_name"] for op in interpreter._get_ops_details()} - {"DELEGATE"})
    print(file, entry["dtype"].__name__, end["dtype"].__name__, *operators)  # noqa: T201
