"""The form in which a dataset travels: the smallest one, and exact."""

from __future__ import annotations

import json
import lzma
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.agent.bench import load_samples
from ota.quantize.blob import encode, encoded
from ota.quantize.dataset import Dataset, no_targets

from .conftest import FolderCache


def _decode(blob: bytes) -> tuple[dict[str, Any], np.ndarray]:
    """Undo `encode`, from its description and not from its code."""
    line, _, payload = blob.partition(b"\n")
    header = json.loads(line)
    assert header["payload_bytes"] == len(payload)
    raw = {"none": bytes, "zlib": zlib.decompress, "lzma": lzma.decompress}[header["compression"]](payload)
    samples = np.frombuffer(raw, np.dtype(header["dtype"]).newbyteorder("<"))
    samples = samples.reshape(header["count"], *header["shape"])
    if header["filter"] == "sub":
        samples = np.add.accumulate(samples, axis=2, dtype=np.uint8)
    return header, samples


def _data(samples: np.ndarray) -> Dataset:
    return Dataset(samples=samples, targets=no_targets(len(samples)))


def _photograph() -> np.ndarray:
    """Smooth along a row with a little noise, as pixels are."""
    rng = np.random.default_rng(5)
    steps = rng.integers(-2, 3, (6, 32, 32, 3)).cumsum(axis=2)
    return (128 + steps).astype(np.uint8)


def _far_repeats() -> np.ndarray:
    """Noise that comes again further away than zlib looks back."""
    return np.tile(np.random.default_rng(5).integers(0, 256, (1, 40_000), dtype=np.uint8), (4, 1))


@pytest.mark.parametrize(
    ("samples", "form"),
    [
        (_photograph(), ("uint8", "sub", "zlib")),
        (_far_repeats(), ("uint8", "none", "lzma")),
        (np.zeros((3, 1000), np.uint8), ("uint8", "none", "zlib")),
        (np.array([[7]], np.uint8), ("uint8", "none", "none")),
        (np.random.default_rng(1).random((50, 9), np.float32), ("float32", "none", "zlib")),
        (np.array([[-5, 300]], np.int16), ("int16", "none", "none")),
    ],
    ids=["photographs", "far repeats", "zeros", "one byte", "floats", "words"],
)
def test_the_smallest_form_is_chosen_and_exact(samples: np.ndarray, form: tuple[str, str, str]) -> None:
    """Photographs go as compressed differences and tiny data as they are; what is decoded is what was encoded."""
    header, decoded = _decode(encode(_data(samples)))
    assert (header["dtype"], header["filter"], header["compression"]) == form
    assert np.array_equal(decoded, samples)
    assert header["payload_bytes"] <= samples.nbytes


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=0, max_size=4))
def test_any_bytes_come_back(seed: int, shape: list[int]) -> None:
    """Samples of any shape survive the journey."""
    samples = np.random.default_rng(seed).integers(0, 256, (3, *shape), dtype=np.uint8)
    header, decoded = _decode(encode(_data(samples)))
    assert header["shape"] == shape
    assert np.array_equal(decoded, samples)


def test_the_header_says_how_pixels_become_inputs() -> None:
    """Scale and offset travel as they were given."""
    data = Dataset(samples=_photograph(), targets=no_targets(6), scale=(1 / 127.5,), offset=(-1.0, 0.0, 0.25))
    header, _ = _decode(encode(data))
    assert header["format"] == 1
    assert header["count"] == 6
    assert header["scale"] == [1 / 127.5]
    assert header["offset"] == [-1.0, 0.0, 0.25]


@pytest.mark.parametrize(
    "data",
    [
        Dataset(samples=_photograph(), targets=no_targets(6), scale=(1 / 127.5,), offset=(-1.0, 0.0, 0.3)),
        _data(_far_repeats()),
        _data(np.array([[0.1], [2.5]], np.float32)),
        _data(np.array([[-5, 300]], np.int16)),
    ],
    ids=["photographs", "far repeats", "floats", "words"],
)
def test_the_agent_feeds_the_network_the_same_numbers(data: Dataset, tmp_path: Path) -> None:
    """What the agent makes of a blob equals, bit by bit, what the controller calibrates with."""
    (tmp_path / "blob").write_bytes(encode(data))
    samples = load_samples(str(tmp_path / "blob"))
    assert (samples.count, tuple(samples.shape)) == (len(data), data.sample_shape)
    for index, expected in enumerate(data.inputs()):
        found = samples.input(index)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)


def test_processes_that_share_memory_unpack_once(tmp_path: Path) -> None:
    """Who comes second finds the samples there; what a first one that ended in the middle left is unpacked again."""
    data = _data(_photograph())
    whole = encode(data)
    line = whole.index(b"\n") + 1
    (tmp_path / "whole").write_bytes(whole)
    (tmp_path / "torn").write_bytes(whole[: line + (len(whole) - line) // 2])
    shared = os.memfd_create("samples")
    try:
        with pytest.raises((ValueError, lzma.LZMAError)):
            load_samples(str(tmp_path / "torn"), shared)
        for name in ("whole", "torn"):
            samples = load_samples(str(tmp_path / name), shared)
            for index, expected in enumerate(data.inputs()):
                assert np.array_equal(samples.input(index), expected)
    finally:
        os.close(shared)


def test_a_blob_is_made_once(cache: FolderCache) -> None:
    """The second time the kept file is handed out, and other samples get another file."""
    first = encoded(_data(_photograph()), cache)
    assert first.read_bytes() == encode(_data(_photograph()))
    first.write_bytes(b"kept")
    assert encoded(_data(_photograph()), cache).read_bytes() == b"kept"
    assert encoded(_data(_photograph()[:3]), cache) != first


def test_progress_is_told_up_to_the_end() -> None:
    """Whoever waits for photographs to be compressed hears how far it is."""
    heard: list[tuple[int, int]] = []
    samples = np.zeros((3, 1 << 20), np.uint8)
    encode(_data(samples), on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(n << 20, 3 << 20) for n in (1, 2, 3)]
