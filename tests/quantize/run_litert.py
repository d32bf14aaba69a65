"""Runs the .tflite argv[2] on the samples argv[1] (.npy, float32 [N, ...]) under ai-edge-litert and writes its dequantized outputs to argv[3] (.npy)."""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(sys.argv[2], num_threads=1)
interpreter.allocate_tensors()
(entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
outputs = []
for sample in np.load(sys.argv[1]):
    value = sample[None]
    if entry["dtype"] is not np.float32:
        scale, zero = entry["quantization"]
        limits = np.iinfo(entry["dtype"])
        value = np.clip(np.rint(value / scale + zero), limits.min, limits.max).astype(entry["dtype"])
    interpreter.set_tensor(entry["index"], value)
    interpreter.invoke()
    output = interpreter.get_tensor(end["index"])[0]
    scale, zero = end["quantization"]
    outputs.append((output.astype(np.float32) - zero) * scale if scale else output)
np.save(sys.argv[3], np.stack(outputs))
