"""A file that comes as an encoding, by a real agent: the difference, the compressed file, and the way back to the whole file from whatever is wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.core.wire import Encoding
from ota.deltas import encode
from ota.remote.device import Device
from tests.deltas.test_encode import PYTHON_37, changed
from tests.remote.test_device import open_device

BASE = np.random.RandomState(1).normal(0, 30, 600_000).astype("i1").tobytes()
MODEL = changed(BASE, 0.02)
DIGEST = Digest.of(MODEL)


def form(folder: Path, encoded: bytes, base: Digest | None) -> Encoding:
    """Return an encoding, in a file."""
    digest = Digest.of(encoded)
    folder.mkdir(exist_ok=True)
    (folder / digest.hex).write_bytes(encoded)
    return Encoding(path=folder / digest.hex, digest=digest, size_bytes=len(encoded), base=base)


def bring(
    device: Device, folder: Path, content: bytes, forms: Sequence[Encoding] = ()
) -> tuple[int, Encoding | None]:
    """Send a file in one of the forms; return the bytes that crossed, and which it was."""
    folder.mkdir(exist_ok=True)
    path = folder / Digest.of(content).hex
    path.write_bytes(content)
    sent = device.put(BlobKind.CANDIDATE, Digest.of(content), path, forms=forms)
    return sent.bytes_sent, sent.form


def candidates(root: Path) -> dict[str, bytes]:
    """Return what is in the device's folder of candidates, but for the base."""
    found = {path.name: path.read_bytes() for path in (root / "candidates").iterdir()}
    return {name: content for name, content in found.items() if name != Digest.of(BASE).hex}


@pytest.mark.parametrize("python", [None, PYTHON_37], ids=["this Python", "Python 3.7"])
def test_a_difference_is_all_that_crosses(
    python: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With the base there, the file is made of a twentieth of its bytes; compressed, of fewer than all; nothing is left beside it."""
    if "3.7" in request.node.name and python is None:
        pytest.skip("no Python 3.7 on this machine")
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    with open_device(root, **({} if python is None else {"python": python})) as device:
        bring(device, shelf, BASE)
        forms = [
            form(shelf, encode.delta(MODEL, BASE), Digest.of(BASE)),
            form(shelf, encode.packed(MODEL), None),
        ]
        sent, used = bring(device, shelf, MODEL, forms)
        assert (sent, used) == (forms[0].size_bytes, forms[0])
        assert sent < len(MODEL) / 20
        assert candidates(root) == {DIGEST.hex: MODEL}
        other = changed(BASE, 0.5)
        packed = form(shelf, encode.packed(other), None)
        assert bring(device, shelf, other, [packed]) == (packed.size_bytes, packed)
        assert bring(device, shelf, other, [packed]) == (0, None)


def test_a_release_is_a_base(tmp_path: Path) -> None:
    """The model of a release serves as a base where its candidate is gone."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    artifact = Artifact(name=MODEL_ARTIFACT, digest=Digest.of(BASE), size_bytes=len(BASE))
    with open_device(root) as device:
        bring(device, shelf, BASE)
        device.stage(Release(manifest=Manifest(model="m", artifacts=(artifact,))))
        (root / "candidates" / artifact.digest.hex).unlink(missing_ok=True)
        difference = form(shelf, encode.delta(MODEL, BASE), artifact.digest)
        assert bring(device, shelf, MODEL, [difference]) == (difference.size_bytes, difference)


HOSTILE = {
    "cut short": lambda made: made[:-200],
    "a bit turned": lambda made: made[:900] + bytes([made[900] ^ 8]) + made[901:],
    "of another form": lambda _: b"no encoding at all",
    "of another file": lambda _: encode.packed(b"x" * len(MODEL)),
    "of a longer file": lambda _: encode.packed(b"x" * (50 * len(MODEL))),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_encoding_that_gives_no_such_file_costs_its_bytes(spoil: object, tmp_path: Path) -> None:
    """The whole file comes after it, and the wrong one never has the file's name."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    hostile = form(shelf, spoil(encode.packed(MODEL)), None)  # type: ignore[operator]
    with open_device(root) as device:
        sent, used = bring(device, shelf, MODEL, [hostile])
        assert (sent, used) == (len(MODEL) + hostile.size_bytes, None)
    assert candidates(root) == {DIGEST.hex: MODEL}


@pytest.mark.parametrize(
    "spoil", [lambda _: None, lambda path: path.write_bytes(b"other")], ids=["gone", "changed"]
)
def test_a_base_that_is_not_what_it_was_is_not_used(spoil: object, tmp_path: Path) -> None:
    """A base that was changed on the device, or is not there, costs no byte: the next form comes, or the whole file."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    difference = form(shelf, encode.delta(MODEL, BASE), Digest.of(BASE))
    packed = form(shelf, encode.packed(MODEL), None)
    with open_device(root) as device:
        device.held([(BlobKind.CANDIDATE, DIGEST)])
        (root / "candidates").mkdir(parents=True)
        spoil(root / "candidates" / Digest.of(BASE).hex)  # type: ignore[operator]
        assert bring(device, shelf, MODEL, [difference, packed]) == (packed.size_bytes, packed)
        other = changed(BASE, 0.3)
        wrong = form(shelf, encode.delta(other, BASE), Digest.of(BASE))
        assert bring(device, shelf, other, [wrong]) == (len(other), None)


@pytest.mark.parametrize("part", [1, 5000, -1, 0])
def test_a_cut_encoding_goes_on_where_it_ended(part: int, tmp_path: Path) -> None:
    """Of an encoding that was cut only the rest crosses; one that is there whole is decoded without a byte."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    encoded = encode.packed(MODEL)
    packed = form(shelf, encoded, None)
    folder = root / "candidates"
    folder.mkdir(parents=True)
    have = encoded[: part or len(encoded)]
    (folder / f"{packed.digest.hex}.partial").write_bytes(have)
    with open_device(root) as device:
        assert bring(device, shelf, MODEL, [packed]) == (len(encoded) - len(have), packed)
    assert candidates(root) == {DIGEST.hex: MODEL}


def test_what_came_of_the_whole_file_is_not_thrown_away(tmp_path: Path) -> None:
    """Where less is missing of the whole file than the encoding has, that is what crosses."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    folder = root / "candidates"
    folder.mkdir(parents=True)
    (folder / f"{DIGEST.hex}.partial").write_bytes(MODEL[:-100])
    with open_device(root) as device:
        assert bring(device, shelf, MODEL, [form(shelf, encode.packed(MODEL), None)]) == (100, None)
    assert candidates(root) == {DIGEST.hex: MODEL}


def test_a_partial_encoding_of_other_bytes_comes_again(tmp_path: Path) -> None:
    """What a power cut left of an encoding is told by its digest, and it comes once more."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    packed = form(shelf, encode.packed(MODEL), None)
    folder = root / "candidates"
    folder.mkdir(parents=True)
    (folder / f"{packed.digest.hex}.partial").write_bytes(bytes(1000))
    with open_device(root) as device:
        sent, used = bring(device, shelf, MODEL, [packed])
        assert (sent, used) == (2 * packed.size_bytes - 1000, packed)


def test_a_temporary_file_of_a_killed_agent_goes(tmp_path: Path) -> None:
    """What a killed agent had decoded is no file of ours, and is gone once the next one changes something."""
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    (root / "candidates").mkdir(parents=True)
    (root / "candidates" / f"{DIGEST.hex}.tmp").write_bytes(os.urandom(100))
    with open_device(root) as device:
        bring(device, shelf, MODEL, [form(shelf, encode.packed(MODEL), None)])
    assert candidates(root) == {DIGEST.hex: MODEL}
