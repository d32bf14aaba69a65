"""The process that loads TensorFlow and the network once and converts it under one scheme after another.

The first request is {path, kind, threads}; see `serving` for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ota.core.scheme import SourceKind
from ota.quantize.recipe import RECIPES, Recipe
from ota.quantize.serving import Maker, Request, UnfitNetworkError, samples_of, serve

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}


def main() -> None:
    """Serve requests until stdin closes."""
    for name, value in _QUIET.items():
        os.putenv(name, value)
    serve(_maker)


def _maker(job: Request) -> Maker:
    return partial(_convert, _load(Path(job["path"]), SourceKind(job["kind"]), int(job["threads"])))


def _load(path: Path, kind: SourceKind, threads: int) -> Any:
    """Return the network as a concrete function of one input [1, ...] with its weights frozen into it.

    Freezing once makes each conversion several times as fast; the fixed batch of 1 keeps SHAPE, PACK and RESHAPE, which delegates refuse,
    out of the graph.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    call, inputs = _keras(tf, path) if kind is SourceKind.KERAS else _saved_model(tf, path)
    shape, dtype = _only_input(inputs)
    if dtype != "float32":
        raise UnfitNetworkError(f"the network takes {dtype}: expected float32")
    if not shape or any(size is None for size in shape[1:]):
        raise UnfitNetworkError(
            f"the network's input {list(shape)} has no fixed size: expected one besides the batch"
        )
    signature = [tf.TensorSpec([1, *shape[1:]], tf.float32)]
    concrete = tf.function(call, input_signature=signature).get_concrete_function()
    if len(concrete.outputs) != 1:
        raise UnfitNetworkError(f"the network has {len(concrete.outputs)} outputs: expected 1")
    return convert_variables_to_constants_v2(concrete, lower_control_flow=False)


def _keras(tf: Any, path: Path) -> tuple[Callable[[Any], Any], list[tuple[tuple[int | None, ...], str]]]:
    model = tf.keras.models.load_model(path, compile=False)
    inputs = [(tuple(tensor.shape), str(tensor.dtype)) for tensor in model.inputs or ()]
    return (lambda tensor: model(tensor, training=False)), inputs


def _saved_model(
    tf: Any, path: Path
) -> tuple[Callable[[Any], Any], list[tuple[tuple[int | None, ...], str]]]:
    loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        raise UnfitNetworkError("the SavedModel has no signature serving_default")
    served = loaded.signatures["serving_default"]
    # The variables live as long as `loaded` does; the closure holds it.
    keep = (loaded, served)
    specs = served.structured_input_signature[1]
    inputs = [
        (tuple(spec.shape.as_list() if spec.shape.rank else ()), spec.dtype.name) for spec in specs.values()
    ]

    def call(tensor: Any) -> Any:
        return keep[1](**dict.fromkeys(specs, tensor))

    return call, inputs


def _only_input(inputs: list[tuple[tuple[int | None, ...], str]]) -> tuple[tuple[int | None, ...], str]:
    if len(inputs) != 1:
        raise UnfitNetworkError(f"the network has {len(inputs)} inputs: expected 1")
    return inputs[0]


def _convert(network: Any, request: Request) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network])
    _apply(tf, converter, RECIPES[request["scheme"]])
    if request["samples"]:
        converter.representative_dataset = lambda: _listed(request)
    return bytes(converter.convert())


def _apply(tf: Any, converter: Any, recipe: Recipe) -> None:
    if recipe.optimize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe.float16:
        converter.target_spec.supported_types = [tf.float16]
    if recipe.operators:
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, recipe.operators)]
    if recipe.uint8_io:
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
    if not recipe.dense_per_channel:
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001 - the only switch


def _listed(request: Request) -> Iterator[list[Any]]:
    return ([sample] for sample in samples_of(request))
