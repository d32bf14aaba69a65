"""What counts as a model, by content, and which schemes each kind offers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.core.measurement import FailureKind
from ota.core.release import Digest
from ota.core.scheme import AS_IS, SCHEMES, SourceKind, Tool
from ota.errors import ContentError, ExitCode, MissingFileError
from ota.quantize.flatbuffer import FlatbufferError, Network, Tensor, read_network
from ota.quantize.source import offered, recognise

from .tiny_tflite import tiny_tflite

EXPECTED = "not a model: expected a .keras or .h5 file, a SavedModel folder or a .tflite file, found "


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return path


def _saved_model(path: Path, content: bytes = b"graph") -> Path:
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(content)
    (path / "variables" / "variables.index").write_bytes(b"weights")
    return path


def test_each_kind_of_source_is_recognised_by_its_content(tmp_path: Path) -> None:
    """A zip with config.json, an HDF5 file, a folder with saved_model.pb and a flatbuffer are models, whatever their names."""
    h5 = b"\x89HDF\r\n\x1a\n" + bytes(100)
    assert recognise(_zip(tmp_path / "a", "config.json")).kind is SourceKind.KERAS
    assert recognise(_write(tmp_path / "b", h5)).kind is SourceKind.KERAS
    assert recognise(_saved_model(tmp_path / "c")).kind is SourceKind.SAVED_MODEL
    found = recognise(_write(tmp_path / "d", tiny_tflite()))
    assert found.kind is SourceKind.TFLITE
    assert found.network == Network(
        inputs=(Tensor(shape=(1, 2), type="float32"),), outputs=(Tensor(shape=(1, 3), type="float32"),)
    )
    assert found.digest == Digest.of(tiny_tflite())


def test_the_digest_covers_every_file_of_a_folder(tmp_path: Path) -> None:
    """Equal folders have equal digests wherever they lie; another byte or another name makes another digest."""
    one, same = _saved_model(tmp_path / "one"), _saved_model(tmp_path / "deeper" / "same")
    assert recognise(one).digest == recognise(same).digest
    assert recognise(_saved_model(tmp_path / "other", b"another")).digest != recognise(one).digest
    (same / "variables" / "variables.index").rename(same / "variables" / "renamed.index")
    assert recognise(same).digest != recognise(one).digest


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"# a text\n", "a file that begins with b'# a text'"),
        (b"PK\x03\x04 torn", "a zip archive without config.json, or a damaged one"),
        (b"\0\0\0\0TFL3", "a damaged .tflite: it holds no graph"),
        (tiny_tflite()[:200], "a damaged .tflite: the file is cut short or damaged"),
    ],
    ids=["empty", "text", "torn zip", "identifier alone", "cut tflite"],
)
def test_what_is_no_model_is_refused_and_says_what_was_found(
    content: bytes, found: str, tmp_path: Path
) -> None:
    """The error names the file, what a model looks like and what was there."""
    path = _write(tmp_path / "model", content)
    with pytest.raises(ContentError) as caught:
        recognise(path)
    assert str(caught.value) == f"{path}: {EXPECTED}{found}"


def test_other_archives_and_folders_are_refused(tmp_path: Path) -> None:
    """A zip of something else and a folder of something else are no models."""
    archive = _zip(tmp_path / "weights.zip", "data.pkl")
    for path, found in (
        (archive, "a zip archive without config.json, or a damaged one"),
        (tmp_path, "a folder without saved_model.pb"),
    ):
        with pytest.raises(ContentError) as caught:
            recognise(path)
        assert str(caught.value) == f"{path}: {EXPECTED}{found}"


def test_a_missing_model_is_a_missing_file(tmp_path: Path) -> None:
    """A path that is not there has the exit code for missing files and is named."""
    with pytest.raises(MissingFileError) as caught:
        recognise(tmp_path / "none.keras")
    assert (
        str(caught.value)
        == f"{tmp_path / 'none.keras'}: the model cannot be read: found No such file or directory"
    )
    assert caught.value.exit_code is ExitCode.MISSING


def test_a_trained_network_offers_every_scheme_that_its_data_allows(tmp_path: Path) -> None:
    """Without a representative dataset the schemes that calibrate are not offered, and say so; the baseline always is."""
    source = recognise(_zip(tmp_path / "net.keras", "config.json"))
    assert offered(source).schemes == SCHEMES
    assert offered(source).failures == ()
    some = offered(source, ("float16", "int8"), representative=False)
    assert [scheme.name for scheme in some.schemes] == ["float32", "float16"]
    assert [(f.scheme, f.kind, f.reason) for f in some.failures] == [
        ("int8", FailureKind.NOT_OFFERED, "needs a representative dataset, and the play names none")
    ]


def test_a_float_tflite_offers_the_baseline_and_lists_the_rest(tmp_path: Path) -> None:
    """Of a float .tflite float32 and the quantizer's schemes are offered; each of the converter's is listed with the reason."""
    offer = offered(recognise(_write(tmp_path / "net.tflite", tiny_tflite())))
    quantizers = [scheme.name for scheme in SCHEMES if scheme.tool is Tool.QUANTIZER]
    assert [scheme.name for scheme in offer.schemes] == ["float32", *quantizers]
    assert [failure.scheme for failure in offer.failures] == [
        scheme.name for scheme in SCHEMES[1:] if scheme.tool is Tool.CONVERTER
    ]
    assert {failure.reason for failure in offer.failures} == {
        "starts from a .keras or .h5 file or a SavedModel, not from a .tflite"
    }


@pytest.mark.parametrize(
    ("entry", "weights", "quantized"),
    [
        ("int8", "int8", "int8 input"),
        ("float32", "int8", "int8 weights"),
        ("float32", "float16", "float16 weights"),
    ],
)
def test_a_quantized_tflite_is_measured_as_it_is_and_never_called_float32(
    entry: str, weights: str, quantized: str, tmp_path: Path
) -> None:
    """A file that is quantized already is offered as_is alone, and every scheme is listed with what is quantized in it."""
    source = recognise(_write(tmp_path / "net.tflite", tiny_tflite(entry=entry, weights=weights)))
    assert source.quantized == quantized
    offer = offered(source, representative=False)
    assert offer.schemes == (AS_IS,)
    assert [failure.scheme for failure in offer.failures] == [scheme.name for scheme in SCHEMES]
    assert offer.failures[0].reason == (
        f"net.tflite is quantized already ({quantized}): hand in the float network, or deploy the file with --model"
    )


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_flatbuffer_never_escapes(data: st.DataObject) -> None:
    """Whatever bytes are changed or cut off, the reader answers or says FlatbufferError."""
    content = bytearray(tiny_tflite(weights="int8"))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        network = read_network(bytes(content))
    except FlatbufferError:
        return
    assert network.inputs
    assert network.outputs


@pytest.mark.parametrize(
    ("name", "shape", "quantized"),
    [
        ("foreign/hello_world_float.tflite", (1,), ""),
        ("foreign/hello_world_int8.tflite", (1,), "int8 input"),
        ("foreign/mobilenet_v1_0.5_160_quant.tflite", (160, 160, 3), "uint8 input"),
        ("foreign/person_detect_vela.tflite", (96, 96, 1), "int8 input"),
        ("models/model_float32.tflite", (224, 224, 3), ""),
        ("models/model_int8_floatio.tflite", (224, 224, 3), "int8 weights"),
    ],
)
def test_files_made_by_others_are_read(
    name: str, shape: tuple[int, ...], quantized: str, shared: Path
) -> None:
    """Files of other makers and years tell their input's shape and whether they are quantized."""
    source = recognise(shared / name)
    assert source.network is not None
    assert source.network.sample_shape == shape
    assert source.quantized == quantized
