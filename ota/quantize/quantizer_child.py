"""The process that reads a float32 .tflite once and quantizes it under one scheme after another, by LiteRT Quantizer and without TensorFlow.

The first request is {path, threads}; see `serving` for the rest. Invariants: the same network, samples and scheme give the same bytes; what is seen of
the activations of representative samples is seen once and shared by all schemes that ask, for each run of an interpreter costs memory and time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from ota.quantize.packing import packed, unpacked
from ota.quantize.rules import RULES, Arithmetic, Rule, Rules
from ota.quantize.serving import Request, samples_of, serve
from ota.quantize.versions import raise_versions

_MOST_SAMPLES = 256
"""How many representative samples calibrate at most, spread evenly: ranges hardly widen after, and each costs an inference that keeps every tensor."""

_KEY = "serving_default"
_WEIGHTS = 1


def main() -> None:
    """Serve requests until stdin closes."""
    serve(lambda job: _Quantizer(Path(job["path"]), int(job["threads"])))


class _Quantizer:
    """One float32 network, and what calibration saw of it by data and algorithm."""

    def __init__(self, path: Path, threads: int) -> None:
        self._content = _signed(path.read_bytes())
        self._threads = threads
        self._seen: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(self, request: Request) -> bytes:
        """Return the .tflite of the scheme `request` names."""
        from litert_quantizer.quantizer import Quantizer

        rules = RULES[request["scheme"]]
        seen: dict[str, Any] = {}
        for algorithm in sorted(rules.calibrated):
            found = deepcopy(self._calibrated(algorithm, request))
            if not found:
                rules = rules.without(algorithm)
            seen |= found
        quantizer = Quantizer(self._content, _recipe(rules, self._content))
        done = quantizer.quantize(seen or None, enable_progress_bar=False, enable_progress_report=False)
        model = unpacked(bytes(done.quantized_model))
        raise_versions(model)
        return packed(model)

    def _calibrated(self, algorithm: str, request: Request) -> dict[str, Any]:
        """Return what `algorithm` wants to know of each tensor; all but those for dense layers want the least and the greatest value."""
        own = algorithm in {"GPTQ", "OSCAR"}
        key = (request["samples"], algorithm if own else "")
        if key not in self._seen:
            self._seen[key] = self._calibrate(algorithm if own else "", request)
        return self._seen[key]

    def _calibrate(self, algorithm: str, request: Request) -> dict[str, Any]:
        """Ranges cover all that was seen, as the converter's do: the quantizer's own default, a moving average, depends on the order of samples."""
        from litert_quantizer.calibrator import Calibrator
        from litert_quantizer.recipe_manager import RecipeManager
        from litert_quantizer.utils.qsv_utils import min_max_update

        if algorithm:
            rule = Rule(
                arithmetic=Arithmetic.DYNAMIC, bits=4, operator="FULLY_CONNECTED", algorithm=algorithm
            )
            update = {}
        else:
            rule = Rule(arithmetic=Arithmetic.STATIC, bits=8)
            update = {"qsv_update_func": min_max_update}
        manager = RecipeManager()
        manager.load_quantization_recipe([_entry(rule)])
        calibrator = Calibrator(self._content, num_threads=self._threads, **update)
        key, names = next(iter(calibrator.get_signature_list().items()))
        (name,) = names["inputs"]
        data = [{name: sample} for sample in samples_of(request, _MOST_SAMPLES)]
        calibrator.calibrate({key: data}, manager)
        return dict(calibrator.get_model_qsvs())


def _recipe(rules: Rules, content: bytes) -> list[dict[str, Any]]:
    """Return `rules` in the quantizer's own form."""
    entries = []
    for rule in rules.rules:
        if rule.block:
            entries += [_entry(rule, f"^{re.escape(scope)}$") for scope in _divisible(content, rule.block)]
        else:
            entries.append(_entry(rule))
    if rules.float_io:
        entries += [
            {
                "regex": ".*",
                "operation": name,
                "algorithm_key": "no_quantize",
                "op_config": {"compute_precision": "FLOAT"},
            }
            for name in ("INPUT", "OUTPUT")
        ]
    return entries


def _entry(rule: Rule, regex: str = ".*") -> dict[str, Any]:
    config: dict[str, Any] = {
        "weight_tensor_config": {
            "num_bits": rule.bits,
            "symmetric": True,
            "granularity": _granularity(rule),
            "dtype": "FLOAT" if rule.algorithm == "float_casting" else "INT",
        },
        "compute_precision": "FLOAT" if rule.arithmetic is Arithmetic.FLOAT else "INTEGER",
        "explicit_dequantize": rule.arithmetic is Arithmetic.FLOAT,
        "skip_checks": False,
        "min_weight_elements": 0,
    }
    if rule.arithmetic is Arithmetic.STATIC:
        config["activation_tensor_config"] = {
            "num_bits": rule.activation_bits,
            "symmetric": rule.activation_bits == 16,
            "granularity": "TENSORWISE",
            "dtype": "INT",
        }
    return {
        "regex": regex,
        "operation": rule.operator,
        "algorithm_key": rule.algorithm,
        "op_config": config,
    }


def _granularity(rule: Rule) -> str:
    if rule.block:
        return f"BLOCKWISE_{rule.block}"
    return "CHANNELWISE" if rule.per_channel else "TENSORWISE"


def _divisible(content: bytes, block: int) -> Iterator[str]:
    """Yield the scope of each dense layer whose rows of weights divide into blocks; the quantizer gives up the whole network over one that does not."""
    from litert_quantizer.qtyping import BuiltinOperator
    from litert_quantizer.utils import tfl_flatbuffer_utils as files

    model = unpacked(content)
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            if code != BuiltinOperator.FULLY_CONNECTED:
                continue
            weights = graph.tensors[operator.inputs[_WEIGHTS]]
            if int(weights.shape[-1]) % block == 0:
                yield files.get_op_scope(operator, graph.tensors)


def _signed(content: bytes) -> bytes:
    """Return the file with a signature, which calibration goes by, where it has none: old converters wrote none."""
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(content)
    if model.signatureDefs:
        return content
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = _KEY
    signature.subgraphIndex = 0
    signature.inputs, signature.outputs = (
        [_named(schema.TensorMapT(), f"{word}_{place}", int(index)) for place, index in enumerate(indexes)]
        for word, indexes in (("input", graph.inputs), ("output", graph.outputs))
    )
    model.signatureDefs = [signature]
    return packed(model)


def _named(entry: Any, name: str, index: int) -> Any:
    entry.name, entry.tensorIndex = name, index
    return entry
