"""Real conversions of tiny networks in real child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ota.core.events import Event, Progressed, StepFinished
from ota.core.measurement import Candidate, Failure, FailureKind
from ota.core.scheme import SCHEMES, Tool, scheme_named
from ota.errors import ContentError
from ota.quantize.convert import CandidateFile, Conversion, Converter, convert_all, network_of
from ota.quantize.dataset import Dataset
from ota.quantize.flatbuffer import Tensor, read_network
from ota.quantize.recipe import RECIPES
from ota.quantize.rules import RULES
from ota.quantize.source import offered, recognise

from .conftest import HERE, FolderCache
from .tiny_tflite import tiny_tflite

pytestmark = pytest.mark.tensorflow


def _quiet(event: Event) -> None:
    assert isinstance(event, StepFinished | Progressed)


@pytest.fixture(scope="session")
def converted(
    networks: Path, photographs: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CandidateFile]:
    """net.keras under every scheme, by the scheme's name."""
    cache = FolderCache(tmp_path_factory.mktemp("converted"))
    done = convert_all(recognise(networks / "net.keras"), SCHEMES, photographs, cache=cache, emit=_quiet)
    assert [one for one in done if isinstance(one, Failure)] == []
    return {one.candidate.scheme: one for one in done if isinstance(one, CandidateFile)}


@pytest.fixture(scope="session")
def ran(
    converted: dict[str, CandidateFile], photographs: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[str], np.ndarray]]:
    """What an interpreter says of each converted file: its types and operators, and its outputs."""
    samples = tmp_path_factory.mktemp("run") / "samples.npy"
    np.save(samples, np.concatenate(list(photographs.inputs())))
    files = {str(one.path): scheme for scheme, one in converted.items()}
    done = subprocess.run(
        [sys.executable, HERE / "run_files.py", samples, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return {files[line[0]]: (line[1:], np.load(f"{line[0]}.npy")) for line in lines}


def test_every_scheme_has_a_recipe() -> None:
    """The converter's schemes are those of RECIPES, the quantizer's those of RULES."""
    assert set(RECIPES) == {scheme.name for scheme in SCHEMES if scheme.tool is Tool.CONVERTER}
    assert set(RULES) == {scheme.name for scheme in SCHEMES if scheme.tool is Tool.QUANTIZER}


def test_every_scheme_is_converted_and_in_its_order(converted: dict[str, CandidateFile]) -> None:
    """Each scheme yields a file whose size is that of its bytes, and quantizing makes it smaller, but where a rotation is added to a tiny network."""
    assert list(converted) == [scheme.name for scheme in SCHEMES]
    for one in converted.values():
        assert one.path.stat().st_size == one.candidate.size_bytes
    baseline = converted["float32"].candidate.size_bytes
    smaller = set(converted) - {"float32", "dynamic_int4_hadamard"}
    assert all(converted[name].candidate.size_bytes < baseline for name in smaller)


@pytest.mark.parametrize("scheme", [scheme.name for scheme in SCHEMES])
def test_a_converted_file_takes_one_sample_and_answers_like_the_baseline(
    scheme: str, ran: dict[str, tuple[list[str], np.ndarray]]
) -> None:
    """Each file runs with a batch of 1, has no operators that work on shapes, and its outputs stay near those of float32."""
    words, outputs = ran[scheme]
    io = {"int8_uint8_io": "uint8", "static_int8_io": "int8"}.get(scheme, "float32")
    assert words[:2] == [io, io]
    assert not {"SHAPE", "PACK"} & set(words)
    assert ("RESHAPE" in words) == (scheme == "dynamic_int4_hadamard")
    assert outputs.shape == (40, 4)
    assert np.abs(outputs - ran["float32"][1]).max() < 0.03


@pytest.mark.parametrize(
    ("scheme", "quantized"),
    [
        ("float32", ""),
        ("dynamic_range", "int8 weights"),
        ("dynamic_range_compat", "int8 weights"),
        ("int8", "int8 weights"),
        ("int8_uint8_io", "uint8 input"),
        ("float16", "float16 weights"),
        ("int16x8", "int8 weights"),
    ],
)
def test_a_converted_file_says_what_is_quantized(
    scheme: str, quantized: str, converted: dict[str, CandidateFile]
) -> None:
    """The reader finds shape and type of the ends and what is quantized in each scheme's file."""
    network = read_network(converted[scheme].path.read_bytes())
    kind = "uint8" if scheme == "int8_uint8_io" else "float32"
    assert network.inputs == (Tensor(shape=(1, 8, 8, 3), type=kind),)
    assert network.outputs == (Tensor(shape=(1, 4), type=kind),)
    assert network.quantized == quantized


def test_dense_layers_per_tensor_make_another_file(converted: dict[str, CandidateFile]) -> None:
    """The dynamic range file for older runtimes differs from the other and holds fewer scales."""
    compat, usual = (converted[name].candidate for name in ("dynamic_range_compat", "dynamic_range"))
    assert compat.digest != usual.digest
    assert compat.size_bytes < usual.size_bytes


@pytest.mark.parametrize("name", ["net_saved", "renamed"])
def test_other_forms_of_the_network_make_the_same_baseline(
    name: str, networks: Path, cache: FolderCache, converted: dict[str, CandidateFile]
) -> None:
    """A SavedModel, and an .h5 file whatever its name, are converted too, to the same shapes and nearly the same size."""
    (networks / "renamed").write_bytes((networks / "net.h5").read_bytes())
    (one,) = convert_all(
        recognise(networks / name), [scheme_named("float32")], None, cache=cache, emit=_quiet, jobs=1
    )
    assert isinstance(one, CandidateFile)
    usual = converted["float32"]
    assert read_network(one.path.read_bytes()) == read_network(usual.path.read_bytes())
    assert abs(one.candidate.size_bytes - usual.candidate.size_bytes) < 2000


def test_a_scheme_that_fails_is_a_row_and_the_cache_spares_the_rest(
    networks: Path, photographs: Dataset, cache: FolderCache
) -> None:
    """A scheme without the operator it needs is a Failure in one line; a second run converts what failed alone, and other data only what depends on it."""
    source = recognise(networks / "sine_saved")
    schemes = [scheme_named(name) for name in ("float32", "int16x8", "int8")]
    events: list[Event] = []
    first = convert_all(source, schemes, photographs, cache=cache, emit=events.append)
    assert first[1] == Failure(
        scheme="int16x8",
        kind=FailureKind.CONVERSION,
        reason="RuntimeError: Quantization to 16x8-bit not yet supported for op: 'SIN'.",
    )
    steps = [event for event in events if isinstance(event, StepFinished)]
    assert {step.step: step.result for step in steps} == {
        "convert float32": "changed",
        "convert int16x8": "failed",
        "convert int8": "changed",
    }
    assert events[-1] == Progressed(host="", step="convert", done=3, total=3)
    good = [schemes[0], schemes[2]]
    with Converter(source, cache=cache, emit=_quiet) as converter:
        again = converter.convert(good, photographs)
        assert converter.pids == ()
        assert again == tuple(replace(one, cached=True) for one in (first[0], first[2]))
        other = replace(photographs, samples=photographs.samples[:20])
        assert _cached(converter.convert(good, other)) == [True, False]


def _cached(conversions: tuple[Conversion, ...]) -> list[bool]:
    return [isinstance(one, CandidateFile) and one.cached for one in conversions]


def test_a_damaged_file_in_the_cache_is_made_again(networks: Path, cache: FolderCache) -> None:
    """A cached file that was cut short is not handed out: it is converted anew, and a killed process costs only the scheme it was at."""
    source = recognise(networks / "net.keras")
    schemes = [scheme_named(name) for name in ("float32", "float16", "dynamic_range")]

    def kill_first(event: Event) -> None:
        if isinstance(event, StepFinished) and event.step == "convert float32":
            for pid in converter.pids:
                os.kill(pid, signal.SIGKILL)

    with Converter(source, cache=cache, emit=kill_first, jobs=1) as converter:
        first = converter.convert(schemes)
    assert isinstance(first[0], CandidateFile)
    assert first[1] == Failure(
        scheme="float16",
        kind=FailureKind.CONVERSION,
        reason="the converter was killed: this machine may be short of memory",
    )
    assert isinstance(first[2], CandidateFile)
    first[0].path.write_bytes(first[0].path.read_bytes()[:1000])
    again = convert_all(source, [schemes[0], schemes[2]], None, cache=cache, emit=_quiet, jobs=1)
    assert _cached(again) == [False, True]
    assert again[0] == first[0]


def test_a_scheme_that_takes_too_long_is_ended(networks: Path, cache: FolderCache) -> None:
    """A process over its time is killed, and every scheme it had becomes a row that says so."""
    source = recognise(networks / "net.keras")
    schemes = [scheme_named("float32"), scheme_named("float16")]
    with Converter(source, cache=cache, emit=_quiet, jobs=1, limit_s=0.01) as converter:
        done = converter.convert(schemes)
        assert converter.pids == ()
    assert [one.reason for one in done if isinstance(one, Failure)] == ["took longer than 0.01 s"] * 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("two_inputs.keras", "the network has 2 inputs: expected 1"),
        ("two_outputs.keras", "the network has 2 outputs: expected 1"),
        ("tokens.keras", "the network takes int32: expected float32"),
        (
            "sizeless.keras",
            "the network's input [None, None, None, 3] has no fixed size: expected one besides the batch",
        ),
        ("custom.keras", "TypeError: Could not locate class 'Sine'."),
        ("only.weights.h5", "ValueError: No model config found in the file"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_with_the_reason(
    name: str, problem: str, networks: Path, cache: FolderCache
) -> None:
    """A network that does not load, or that devices cannot measure, is one clear error that names the file."""
    with pytest.raises(ContentError) as caught:
        convert_all(
            recognise(networks / name), [scheme_named("float32")], None, cache=cache, emit=_quiet, jobs=1
        )
    assert str(caught.value).startswith(f"{networks / name}: the network cannot be used: {problem}")
    assert "\n" not in str(caught.value)
    assert ("SavedModel" in str(caught.value)) == (name == "custom.keras")


def test_a_network_without_a_baseline_is_refused(networks: Path, cache: FolderCache) -> None:
    """Where float32 itself cannot be converted there is nothing to compare with, and the converter's reason is passed on."""
    source = recognise(networks / "unknown_saved")
    done = convert_all(source, [scheme_named("float32")], None, cache=cache, emit=_quiet, jobs=1)
    with pytest.raises(ContentError) as caught:
        network_of(source, done[0])
    assert str(caught.value) == (
        f"{networks / 'unknown_saved'}: no float32 file can be made of it: "
        "ConverterError: 'tf.Erfinv' op is neither a custom op nor a flex op"
    )


@pytest.mark.parametrize(("weights", "scheme"), [("float32", "float32"), ("int8", "as_is")])
def test_a_tflite_is_its_own_candidate(weights: str, scheme: str, tmp_path: Path, cache: FolderCache) -> None:
    """A .tflite source is handed on unchanged under the scheme that it is, and nothing is started for it."""
    path = tmp_path / "net.tflite"
    path.write_bytes(tiny_tflite(weights=weights))
    source = recognise(path)
    with Converter(source, cache=cache, emit=_quiet) as converter:
        (one,) = converter.convert(offered(source).schemes[:1])
        assert converter.pids == ()
    candidate = Candidate(scheme=scheme, digest=source.digest, size_bytes=path.stat().st_size)
    assert one == CandidateFile(candidate=candidate, path=path, cached=True)
    assert network_of(source, one) == source.network


def test_a_tflite_that_takes_words_is_refused(tmp_path: Path, cache: FolderCache) -> None:
    """A .tflite whose input is neither float32 nor quantized cannot be fed."""
    path = tmp_path / "tokens.tflite"
    path.write_bytes(tiny_tflite(entry="int32"))
    source = recognise(path)
    (one,) = convert_all(source, offered(source).schemes[:1], None, cache=cache, emit=_quiet)
    with pytest.raises(ContentError) as caught:
        network_of(source, one)
    assert str(caught.value) == (
        f"{path}: the network cannot be used: expected an input of float32, found int32 [1,2]"
    )


_SCRIPT = """
import sys, threading, time
from pathlib import Path
from ota.core.scheme import SCHEMES
from ota.quantize.convert import Converter
from ota.quantize.source import recognise
from tests.quantize.conftest import FolderCache

def report(converter):
    while len(converter.pids) < 2:
        time.sleep(0.01)
    print(*converter.pids, flush=True)

try:
    with Converter(recognise(Path(sys.argv[1])), cache=FolderCache(Path(sys.argv[2])), emit=lambda event: None, jobs=2) as converter:
        threading.Thread(target=report, args=(converter,), daemon=True).start()
        converter.convert(SCHEMES[:3])
finally:
    print("tensorflow" in sys.modules, flush=True)
"""


@pytest.mark.parametrize(("how", "last_word"), [(signal.SIGINT, "False\n"), (signal.SIGKILL, "")])
def test_no_process_outlives_the_controller(
    how: signal.Signals, last_word: str, networks: Path, cache: FolderCache
) -> None:
    """Ctrl-C, and even a killed controller, end the converting processes; the controller itself never loads TensorFlow."""
    run = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, networks / "net.keras", cache.folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE.parent.parent,
        env={**os.environ, "TMPDIR": str(cache.folder)},
    )
    assert run.stdout is not None
    pids = [int(word) for word in run.stdout.readline().split()]
    assert len(pids) == 2
    run.send_signal(how)
    out, err = run.communicate(timeout=30)
    assert out == last_word
    assert ("KeyboardInterrupt" in err) == (how is signal.SIGINT)
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if _alive(pid)] == []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


README_SIZES = {
    "float32": 3291872,
    "dynamic_range": 932464,
    "dynamic_range_compat": 932416,
    "float16": 1677408,
    "int8": 995528,
    "int8_uint8_io": 995552,
    "int16x8": 1062344,
}


def test_a_real_network_converts_to_the_sizes_known_for_it(shared: Path, cache: FolderCache) -> None:
    """A trained MobileNet under all schemes has the sizes in bytes that were measured for it, within 1 %."""
    pixels = np.random.default_rng(1).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    data = Dataset(samples=pixels, targets=np.zeros(4, np.int64), scale=(1 / 127.5,), offset=(-1.0,))
    done = convert_all(recognise(shared / "models/model.keras"), SCHEMES, data, cache=cache, emit=_quiet)
    sizes = {one.candidate.scheme: one.candidate.size_bytes for one in done if isinstance(one, CandidateFile)}
    assert {name: sizes[name] for name in README_SIZES} == pytest.approx(README_SIZES, rel=0.01)
    assert len(sizes) == len(SCHEMES)
