"""Real files by LiteRT Quantizer from real float32 networks, run by the runtime that devices have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ota.core.events import Event, StepFinished
from ota.core.measurement import Failure, FailureKind
from ota.core.operators import Loads, loads
from ota.core.scheme import SCHEMES, SourceKind, Tool, scheme_named
from ota.quantize.convert import CandidateFile, Conversion, Converter, convert_all
from ota.quantize.dataset import Dataset, no_targets
from ota.quantize.graph import read_graph
from ota.quantize.packing import packed, unpacked
from ota.quantize.source import offered, recognise

from .conftest import HERE, FolderCache

OWN = [scheme for scheme in SCHEMES if scheme.tool is Tool.QUANTIZER]
INT4_CONVOLUTIONS = {"weight_only_int4", "dynamic_int4", "dynamic_int4_octav", "static_int4"}
UNTAKEN = "no operator of this network takes it: the file would be float32 still"


def _quiet(event: Event) -> None:
    """Nobody listens."""


def _made(path: Path, data: Dataset | None, cache: FolderCache, *names: str) -> dict[str, Conversion]:
    """What becomes of the schemes `names` (none: all) of the quantizer, from the .tflite `path`."""
    schemes = [scheme_named("float32"), *(map(scheme_named, names) if names else OWN)]
    done = convert_all(recognise(path), schemes, data, cache=cache, emit=_quiet)
    return {scheme.name: one for scheme, one in zip(schemes, done, strict=True)}


def _bytes(one: Conversion) -> bytes:
    assert isinstance(one, CandidateFile), one.reason
    return one.path.read_bytes()


def _ran(one: Conversion, samples: np.ndarray, folder: Path) -> np.ndarray:
    """The outputs of a file in a process of its own."""
    assert isinstance(one, CandidateFile), one.reason
    np.save(folder / "samples.npy", samples)
    command = [sys.executable, HERE / "run_litert.py", folder / "samples.npy", one.path, folder / "out.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{one.candidate.scheme}: {done.stderr[-1000:]}"
    return np.load(folder / "out.npy")


@pytest.fixture(scope="module")
def small(
    networks: Path, photographs: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Conversion]:
    """A tiny float32 .tflite under every scheme of the quantizer."""
    cache = FolderCache(tmp_path_factory.mktemp("small"))
    return _made(networks / "float.tflite", photographs, cache)


@pytest.mark.parametrize("scheme", [scheme.name for scheme in OWN])
def test_a_files_answers_are_near_those_of_float32(
    scheme: str, small: dict[str, Conversion], photographs: Dataset, tmp_path: Path
) -> None:
    """Under ai-edge-litert each file loads, takes one sample and answers within 0.03 of the float32 file."""
    samples = np.concatenate(list(photographs.inputs()))
    float32 = _ran(small["float32"], samples, tmp_path)
    assert np.abs(_ran(small[scheme], samples, tmp_path) - float32).max() < 0.03


def test_a_trained_network_keeps_its_answers(shared: Path, cache: FolderCache, tmp_path: Path) -> None:
    """Of sixty photographs a trained MobileNet calls nine of ten the same as in float32 but with convolutions of int4, where outputs are still shares."""
    pixels = [
        np.asarray(Image.open(file)) for file in sorted((shared / "waste/representative").rglob("*.jpg"))
    ]
    data = Dataset(samples=np.stack(pixels), targets=no_targets(100), scale=(1 / 127.5,), offset=(-1.0,))
    files = sorted((shared / "waste/test").rglob("*.jpg"))[::8]
    samples = np.stack([np.asarray(Image.open(file), np.float32) / 127.5 - 1 for file in files])
    made = _made(shared / "models/model_float32.tflite", data, cache)
    float32 = _ran(made["float32"], samples, tmp_path).argmax(1)
    for scheme in OWN:
        outputs = _ran(made[scheme.name], samples, tmp_path)
        assert outputs.sum(1) == pytest.approx(np.ones(len(files)), abs=0.02), scheme.name
        if scheme.name not in INT4_CONVOLUTIONS:
            assert np.mean(outputs.argmax(1) == float32) >= 0.9, scheme.name


def test_every_file_holds_its_weights_inside_and_aligned(small: dict[str, Conversion]) -> None:
    """No buffer lies behind the flatbuffer, where old runtimes do not look, and each begins at a multiple of 16 bytes."""
    from ai_edge_litert.schema_py_generated import Model

    for scheme in OWN:
        model = Model.GetRootAs(_bytes(small[scheme.name]))
        buffers = [model.Buffers(place) for place in range(model.BuffersLength())]
        assert {buffer.Offset() for buffer in buffers} == {0}
        starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength() > 0]
        assert starts
        assert {start % 16 for start in starts} == {0}


@pytest.mark.parametrize(
    ("scheme", "operator", "version"),
    [
        ("dynamic_int8", "CONV_2D", 5),
        ("dynamic_int8", "DEPTHWISE_CONV_2D", 6),
        ("dynamic_int8", "FULLY_CONNECTED", 12),
        ("dynamic_int8_compat", "FULLY_CONNECTED", 3),
        ("dynamic_int4", "CONV_2D", 8),
        ("dynamic_int4_gptq", "FULLY_CONNECTED", 12),
        ("weight_only_int8", "DEQUANTIZE", 5),
        ("weight_only_int4", "DEQUANTIZE", 6),
        ("float16_storage", "DEQUANTIZE", 3),
        ("static_int8", "CONV_2D", 3),
        ("static_int8", "FULLY_CONNECTED", 4),
        ("static_int8", "SOFTMAX", 2),
        ("static_int4", "CONV_2D", 7),
        ("static_int4", "FULLY_CONNECTED", 10),
        ("static_int16x8", "QUANTIZE", 2),
        ("static_int16x8", "SOFTMAX", 3),
    ],
)
def test_operators_say_the_version_that_they_need(
    scheme: str, operator: str, version: int, small: dict[str, Conversion]
) -> None:
    """The quantizer leaves the float file's versions; the file has those that LiteRT's own rule asks for."""
    uses = read_graph(_bytes(small[scheme])).operators
    assert max(use.version for use in uses if use.name == operator) == version


def test_a_lower_form_loads_where_its_scheme_does_not(small: dict[str, Conversion]) -> None:
    """Under tflite-runtime 2.14, which would answer nonsense, the dynamic int8 file does not load, and its lower form does."""
    for scheme in OWN:
        if scheme.lower_form:
            high, low = (read_graph(_bytes(small[name])) for name in (scheme.name, scheme.lower_form))
            assert loads(high, "tflite-runtime 2.14.0").verdict is Loads.DOES_NOT_LOAD
            assert loads(low, "tflite-runtime 2.14.0").verdict is Loads.LOADS


def test_a_network_without_weights_takes_none_but_static_schemes(
    networks: Path, photographs: Dataset, cache: FolderCache
) -> None:
    """Each scheme that finds nothing to quantize is a failure that says so, each that makes another's file one that names it; kept files are judged alike."""
    for _ in range(2):
        made = _made(networks / "weightless.tflite", photographs, cache)
        failed = {name: one for name, one in made.items() if isinstance(one, Failure)}
        assert {one.kind for one in failed.values()} == {FailureKind.NOT_OFFERED}
        reasons = {name: one.reason for name, one in failed.items()}
        assert reasons["dynamic_int8"] == UNTAKEN
        assert reasons["weight_only_int4"] == UNTAKEN
        same = "the same file as static_int8: what sets the two apart is not in this network"
        assert reasons["static_int4"] == same
        assert {"float32", "static_int8", "static_int8_io", "static_int16x8"} <= set(made) - set(failed)


def test_schemes_for_dense_layers_need_one(networks: Path, photographs: Dataset, cache: FolderCache) -> None:
    """In a network of convolutions alone they make the dynamic int8 file, and are failures that say so."""
    names = [
        "dynamic_int8", "dynamic_int8_compat", "dynamic_int4", "dynamic_int4_block32", "dynamic_int4_gptq", "dynamic_int4_oscar",
        "dynamic_int4_hadamard",
    ]  # fmt: skip
    made = _made(networks / "convolutions.tflite", photographs, cache, *names)
    failed = [name for name, one in made.items() if isinstance(one, Failure)]
    assert failed == [name for name in names if name not in {"dynamic_int8", "dynamic_int4"}]
    for name in failed:
        one = made[name]
        assert isinstance(one, Failure)
        assert one.reason == "the same file as dynamic_int8: what sets the two apart is not in this network"


def test_blocks_are_for_the_dense_layers_that_divide_into_them(networks: Path, cache: FolderCache) -> None:
    """Of two dense layers, of 24 and 64 weights a row, the second alone gets int4 in blocks of 32, the first stays int8."""
    made = _made(networks / "dense.tflite", None, cache, "dynamic_int4_block32")
    model = unpacked(_bytes(made["dynamic_int4_block32"]))
    found = {
        tuple(tensor.shape): (tensor.type, bool(tensor.quantization.detailsType))
        for tensor in model.subgraphs[0].tensors
        if len(tensor.shape) == 2 and tensor.quantization is not None
    }
    int8, int4 = 9, 17
    assert found[64, 24] == (int8, False)
    assert found[4, 64] == (int4, True)


def test_a_file_without_a_signature_calibrates_too(
    networks: Path, photographs: Dataset, cache: FolderCache, tmp_path: Path
) -> None:
    """What an old converter wrote has no signature, which calibration goes by; its static file is still made and answers like float32."""
    model = unpacked((networks / "float.tflite").read_bytes())
    model.signatureDefs = None
    path = tmp_path / "unsigned.tflite"
    path.write_bytes(packed(model))
    made = _made(path, photographs, cache, "static_int8")
    samples = np.concatenate(list(photographs.inputs()))
    float32 = _ran(made["float32"], samples, tmp_path)
    assert np.abs(_ran(made["static_int8"], samples, tmp_path) - float32).max() < 0.03


def test_an_operator_that_is_not_quantized_stays_float32(
    networks: Path, photographs: Dataset, cache: FolderCache, tmp_path: Path
) -> None:
    """A sine between quantized operators is computed in float32; the file runs, and no scheme ends the run."""
    schemes = [scheme_named(name) for name in ("float32", "static_int8", "static_int16x8")]
    source = recognise(networks / "sine_saved")
    done = convert_all(source, schemes, photographs, cache=cache, emit=_quiet, jobs=1)
    samples = np.concatenate(list(photographs.inputs()))
    float32 = _ran(done[0], samples, tmp_path)
    for one in done[1:]:
        assert np.abs(_ran(one, samples, tmp_path) - float32).max() < 0.05


def test_files_are_the_same_wherever_the_float32_file_comes_from(
    networks: Path, photographs: Dataset, cache: FolderCache, tmp_path: Path
) -> None:
    """From a .keras file the converter's float32 file is made on the way; handed in by itself it gives the same bytes, out of the cache."""
    names = ["float32", "dynamic_int8", "static_int8"]
    schemes = [scheme_named(name) for name in names]
    keras = recognise(networks / "net.keras")
    with Converter(keras, cache=cache, emit=_quiet, jobs=1) as converter:
        first = converter.convert(schemes[1:], photographs)
        (float32,) = converter.convert(schemes[:1])
    path = tmp_path / "float32.tflite"
    path.write_bytes(_bytes(float32))
    source = recognise(path)
    assert source.kind is SourceKind.TFLITE
    with Converter(source, cache=cache, emit=_quiet) as converter:
        again = converter.convert(schemes, photographs)
        assert converter.pids == ()
    assert again[1:] == tuple(replace(one, cached=True) for one in first if isinstance(one, CandidateFile))
    fresh = FolderCache(tmp_path / "fresh")
    fresh.folder.mkdir()
    anew = convert_all(source, schemes, photographs, cache=fresh, emit=_quiet)
    assert [_bytes(one) for one in anew] == [_bytes(one) for one in again]


def test_the_data_counts_where_a_scheme_looks_at_it(
    networks: Path, photographs: Dataset, cache: FolderCache
) -> None:
    """Other representative samples make the calibrated files anew and leave the others in the cache."""
    source = recognise(networks / "float.tflite")
    schemes = [scheme_named(name) for name in ("dynamic_int8", "static_int8", "dynamic_int4_gptq")]
    with Converter(source, cache=cache, emit=_quiet) as converter:
        converter.convert([scheme_named("float32"), *schemes], photographs)
        other = replace(photographs, samples=photographs.samples[:10])
        again = converter.convert(schemes, other)
    assert [isinstance(one, CandidateFile) and one.cached for one in again] == [True, False, False]


def test_tensorflow_is_loaded_nowhere_and_a_killed_process_costs_one_scheme(
    networks: Path, cache: FolderCache
) -> None:
    """From a .tflite no process maps TensorFlow; one that is killed loses the scheme it was asked for, and the rest are made by another."""
    source = recognise(networks / "float.tflite")
    schemes = [
        scheme_named(name) for name in ("float32", "float16_storage", "weight_only_int8", "dynamic_int8")
    ]
    mapped: list[str] = []

    def kill(event: Event) -> None:
        if isinstance(event, StepFinished) and event.step == "convert float16_storage":
            for pid in converter.pids:
                mapped.append(Path(f"/proc/{pid}/maps").read_text())
                os.kill(pid, signal.SIGKILL)

    with Converter(source, cache=cache, emit=kill) as converter:
        done = converter.convert(schemes)
    assert len(mapped) == 1
    assert "/ai_edge_litert/" in mapped[0]
    assert "/tensorflow/" not in mapped[0]
    names = [one.scheme if isinstance(one, Failure) else "" for one in done]
    assert names == ["", "", "weight_only_int8", ""]
    (lost,) = (one for one in done if isinstance(one, Failure))
    assert lost.reason == "the quantizer was killed: this machine may be short of memory"


def test_a_damaged_float32_file_fails_scheme_by_scheme(
    networks: Path, photographs: Dataset, cache: FolderCache, tmp_path: Path
) -> None:
    """What reads as a .tflite and holds an operator of nonsense is a failure of each scheme that meets it, never the end of the run."""
    model = unpacked((networks / "float.tflite").read_bytes())
    model.subgraphs[0].operators[0].inputs = [0, 0, 0]
    path = tmp_path / "nonsense.tflite"
    path.write_bytes(packed(model))
    made = _made(path, photographs, cache, "static_int8", "dynamic_int8")
    failure = made["static_int8"]
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.CONVERSION
    assert failure.reason
    assert "\n" not in failure.reason


def test_every_scheme_of_the_quantizer_is_offered_for_a_float_tflite(networks: Path) -> None:
    """Of a float .tflite nothing of the quantizer's is missing; without representative data the schemes that calibrate are."""
    source = recognise(networks / "float.tflite")
    assert [scheme for scheme in offered(source).schemes if scheme.tool is Tool.QUANTIZER] == OWN
    bare = offered(source, representative=False)
    assert [scheme for scheme in OWN if scheme.representative] == [
        scheme_named(failure.scheme)
        for failure in bare.failures
        if scheme_named(failure.scheme).tool is Tool.QUANTIZER
    ]
