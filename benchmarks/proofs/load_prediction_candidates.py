"""Writes into the folder argv[2] what LiteRT Quantizer makes of the float32 .tflite argv[1]: every way, width and grain it has; its process may die.

What it does not offer for this network is left out; calibration is on noise, for only the graph matters here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import qtyping, quantizer, recipe, recipe_manager

MODEL, FOLDER = sys.argv[1], Path(sys.argv[2])
_ALL = qtyping.TFLOperationName.ALL_SUPPORTED


def recipes() -> Iterator[tuple[str, object]]:
    """Yield a name and a recipe of each kind."""
    for name in sorted(vars(recipe)):
        if name.startswith(("dynamic_", "weight_only_", "static_")):
            yield (name, getattr(recipe, name)())
    hadamard = recipe.AlgorithmName.HADAMARD_ROTATION
    yield ("dynamic_wi8_hadamard", recipe.dynamic_wi8_afp32(algorithm_key=hadamard))
    for bits in (4, 8):
        for grain in qtyping.QuantGranularity:
            for kind in ("dynamic", "weight_only"):
                manager = recipe_manager.RecipeManager()
                add = getattr(manager, f"add_{kind}_config")
                add(regex=".*", operation_name=_ALL, num_bits=bits, granularity=grain)
                yield (f"{kind}_{bits}_{grain.name.lower()}", manager.get_quantization_recipe())
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*", operation_name=_ALL, num_bits=16, algorithm_key=recipe.AlgorithmName.FLOAT_CASTING
    )
    yield ("float16", manager.get_quantization_recipe())


def noise() -> dict[str, list[dict[str, np.ndarray]]]:
    """Return two samples for calibration."""
    signatures = Interpreter(MODEL).get_signature_list()
    entry = Interpreter(MODEL).get_input_details()[0]
    key, names = next(iter(signatures.items()))
    generator = np.random.default_rng(0)
    samples = [generator.uniform(-1, 1, entry["shape"]).astype(np.float32) for _ in range(2)]
    return {key: [{names["inputs"][0]: sample} for sample in samples]}


def main() -> None:
    """Write what can be made."""
    for name, chosen in recipes():
        try:
            work = quantizer.Quantizer(MODEL, chosen)
            calibrated = work.calibrate(noise()) if work.need_calibration else None
            made = bytes(work.quantize(calibrated).quantized_model)
        except Exception as error:  # noqa: BLE001 - what it does not offer, it says in many ways
            print(f"{name}: {error}", file=sys.stderr)
            continue
        (FOLDER / f"{name}.tflite").write_bytes(made)


if __name__ == "__main__":
    main()
