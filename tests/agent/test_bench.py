"""Benchmarks on a device with a real runtime: interleaving, exact outputs, quantized ends, and candidates that fail alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ota.agent.bench import _turns
from ota.core.facts import Runtime
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.remote.replies import BenchReply, Refusal
from tests.agent.networks import custom, dense, dense_int8
from tests.remote.test_device import blob, open_device, script

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)

RUNTIME = Runtime(id="litert", package="ai-edge-litert", version="0", python="")
SAMPLES = np.array([[1, 2], [3, 4], [250, 0], [7, 7], [0, 1]], np.uint8)
WEIGHTS = [[1.0, 0.5], [-1.0, 2.0], [0.25, 0.0]]


def dataset(samples: np.ndarray, scale: list[float], offset: list[float]) -> bytes:
    """Return a dataset as it travels, uncompressed."""
    header = {
        "format": 1, "count": len(samples), "shape": list(samples.shape[1:]), "dtype": samples.dtype.name, "scale": scale, "offset": offset,
        "filter": "none", "compression": "none", "payload_bytes": samples.nbytes,
    }  # fmt: skip
    return json.dumps(header).encode() + b"\n" + samples.tobytes()


def bench(
    tmp_path: Path, networks: list[bytes], samples: bytes, *, python: str = sys.executable, **options: int
) -> tuple[BenchReply | Refusal, ...]:
    """Bring networks and samples to a device whose runtime is this environment's, and run them."""
    folder = tmp_path / "root" / "runtime" / "litert"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"id": "litert", "package": "ai-edge-litert", "version": "0", "python": python}
    (folder / "proven.json").write_text(json.dumps(record))
    plan = {"threads": 1, "blocks": 2, "warmup": 1, "seed": 7, **options}
    with open_device(tmp_path / "root") as device:
        data, path = blob(tmp_path, samples)
        device.put(BlobKind.DATASET, data, path)
        digests: list[Digest] = []
        for network in networks:
            digest, path = blob(tmp_path, network)
            device.put(BlobKind.CANDIDATE, digest, path)
            digests.append(digest)
        return device.bench(RUNTIME, data, digests, **plan)


def outputs(reply: BenchReply | Refusal) -> np.ndarray:
    """Return a reply's outputs as an array."""
    assert isinstance(reply, BenchReply), reply
    return np.frombuffer(reply.outputs, "<f4").reshape(reply.output_shape)


def test_raw_outputs_and_times_come_back_for_every_sample(tmp_path: Path) -> None:
    """Each sample has one latency, one block and one row of exact outputs of value * scale + offset through the network."""
    (reply,) = bench(tmp_path, [dense(WEIGHTS)], dataset(SAMPLES, [0.5], [-1.0]))
    expected = (SAMPLES.astype(np.float32) * np.float32(0.5) - np.float32(1)) @ np.array(
        WEIGHTS, np.float32
    ).T
    assert np.array_equal(outputs(reply), expected)
    assert isinstance(reply, BenchReply)
    assert len(reply.latencies_ns) == 5
    assert all(0 < one < 10**9 for one in reply.latencies_ns)
    assert reply.blocks == (0, 0, 1, 1, 1)
    assert reply.load_ns > 0


def test_integer_ends_are_quantized_and_dequantized(tmp_path: Path) -> None:
    """An int8 network gets round(x / scale) + zero, clipped, and its outputs come back as floats."""
    scales = (0.5, 0.25, 1.0)
    (reply,) = bench(tmp_path, [dense_int8([[4, 0], [0, 4]], scales=scales)], dataset(SAMPLES, [1.0], [0.0]))
    quantized = np.clip(np.rint(SAMPLES / np.float32(0.5)) + 3, -128, 127)
    exact = (quantized - 3) * 0.5
    assert np.array_equal(outputs(reply), np.clip(np.rint(exact), -126, 129).astype(np.float32))


FAILURES = {
    "not a model": (b"....TFL3 nonsense", "load", "flatbuffer"),
    "an operator that nobody knows": (custom(2), "load", "unresolved custom op: alien-op"),
    "another input shape": (
        dense([[1.0, 2.0, 3.0]]),
        "run",
        "the network takes [1, 3]: expected [1, 2], one sample",
    ),
}


@pytest.mark.parametrize(("network", "kind", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_a_candidate_that_fails_is_a_row_and_the_others_go_on(
    network: bytes, kind: str, words: str, tmp_path: Path
) -> None:
    """A candidate that cannot load or run says why in the runtime's own words; the one beside it is measured."""
    refused, measured = bench(tmp_path, [network, dense(WEIGHTS)], dataset(SAMPLES, [1.0], [0.0]))
    assert isinstance(refused, Refusal)
    assert refused.kind == kind
    assert words.lower() in refused.reason.lower()
    assert outputs(measured).shape == (5, 3)


def test_a_candidate_that_takes_its_process_with_it_is_a_row(tmp_path: Path) -> None:
    """A network that asks for more memory than the process may have fails alone, with a reason."""
    code = "import ai_edge_litert.interpreter, numpy; print(open('/proc/self/status').read().split('VmPeak:')[1].split()[0])"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    python = script(
        tmp_path / "python", f'ulimit -v {int(loaded.stdout) + 60_000}; exec {sys.executable} "$@"'
    )
    huge = dense([[1.0] * 2] * 8_000_000)
    failed, measured = bench(
        tmp_path, [huge, dense(WEIGHTS)], dataset(SAMPLES, [1.0], [0.0]), python=python, blocks=1
    )
    assert isinstance(failed, Refusal)
    assert failed.reason
    assert outputs(measured).shape == (5, 3)


def test_every_block_has_every_candidate_once_in_shuffled_order() -> None:
    """Candidates are interleaved: each block holds each once, the orders differ, and the samples are split without a gap."""
    turns = _turns({"seed": 3, "blocks": 6, "networks": ["a", "b", "c", "d"]}, 20)
    by_block = [[turn for turn in turns if turn[0] == block] for block in range(6)]
    assert [sorted(turn[1] for turn in block) for block in by_block] == [[0, 1, 2, 3]] * 6
    assert len({tuple(turn[1] for turn in block) for block in by_block}) > 1
    assert [(block[0][2], block[0][3]) for block in by_block] == [
        (0, 3),
        (3, 6),
        (6, 10),
        (10, 13),
        (13, 16),
        (16, 20),
    ]


def test_a_dataset_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """A dataset shorter than its header says ends the benchmark with the reason, and nothing is left on the device."""
    from ota.errors import HostError

    with pytest.raises(HostError, match="the dataset holds less than its header says"):
        bench(tmp_path, [dense(WEIGHTS)], dataset(SAMPLES, [1.0], [0.0])[:-3])
    assert list((tmp_path / "root").glob("bench-*")) == []
