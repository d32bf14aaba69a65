"""Runs on a board, under a runtime's own Python: says of each network whether it loads, which nodes it has and what comes out.

Usage: read_networks.py MODULE SAMPLES FILE... ; prints one line of JSON for each file. Each file has a process of its own, so that one that
takes its process with it says nothing of the others. Inputs are made with integers only and are the same on every board.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import numpy as np

ENDS = frozenset({"QUANTIZE", "DEQUANTIZE", "DELEGATE"})
"""Nodes that convert, or stand for others, and say nothing of what a network calculates in."""
KINDS = {"float32": 0, "uint8": 0, "int8": -128, "int16": -128}


def sample(shape: tuple[int, ...], kind: str, number: int) -> np.ndarray:
    """Return input `number`: noise around a grey that differs from sample to sample, as floats -1..1 or the integers that stand for them."""
    places = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(1 + 7919 * number)
    noise = ((places * np.uint64(2654435761)) >> np.uint64(13)).astype(np.int64) & 255
    grey = 40 + 23 * number % 176
    values = np.clip(grey + (noise - 128) * (1 + number % 5) // 5, 0, 255).reshape(shape)
    if kind == "float32":
        made = (values.astype(np.float32) - np.float32(128)) / np.float32(128)
    else:
        made = ((values + KINDS[kind]) * (256 if kind == "int16" else 1)).astype(kind)
    return np.asarray(made)


def read(interpreter_of: type, file: str, samples: int) -> dict[str, object]:
    """Load a network and run it on some samples."""
    network = interpreter_of(model_path=file, num_threads=1)
    network.allocate_tensors()
    (entry,), (end, *_) = network.get_input_details(), network.get_output_details()
    outputs = []
    for number in range(samples):
        network.set_tensor(
            entry["index"], sample(tuple(entry["shape"]), np.dtype(entry["dtype"]).name, number)
        )
        network.invoke()
        outputs.append(network.get_tensor(end["index"]).tobytes().hex())
    kinds = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in network.get_tensor_details()}
    return {
        "loads": True,
        "kind": np.dtype(end["dtype"]).name,
        "arithmetic": sorted(
            {
                kinds[int(one)]
                for node in network._get_ops_details()
                if node["op_name"] not in ENDS
                for one in node["outputs"]
            }
        ),
        "nodes": [
            [node["op_name"], [int(one) for one in node["inputs"]], [int(one) for one in node["outputs"]]]
            for node in network._get_ops_details()
        ],
        "outputs": outputs,
    }


def main(module: str, samples: int, *files: str) -> None:
    """Read each file in a child that is forked: what runs under an emulator cannot execute itself again."""
    interpreter = importlib.import_module(module).Interpreter
    for file in files:
        child = os.fork()
        if child == 0:
            try:
                answer = read(interpreter, file, samples)
            except Exception as error:  # noqa: BLE001 - the runtimes raise anything
                answer = {"loads": False, "reason": " ".join(str(error).split())[:500]}
            print(json.dumps({"file": file, **answer}), flush=True)  # noqa: T201
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            reason = f"the process ended with status {status}"
            print(json.dumps({"file": file, "loads": False, "reason": reason}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
