"""Blocks on a device with a real runtime: exact outputs, quantized ends, who fails fails alone, the surroundings, and examinations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ota.core.conditions import ConditionLimits, void_reason
from ota.core.facts import Runtime
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.errors import HostError
from ota.remote.answers import Lease
from ota.remote.bench_replies import BlockReply, Examined, Refusal, TurnReply, TurnRequest
from ota.remote.device import Device
from tests.agent.boards import FINE, Board
from tests.agent.networks import custom, dense, dense_int8
from tests.remote.test_device import blob, open_device, release, script

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)

RUNTIME = Runtime(id="litert", package="ai-edge-litert", version="0", python="")
OTHER = Runtime(id="other", package="ai-edge-litert", version="0", python="")
SAMPLES = np.array([[1, 2], [3, 4], [250, 0], [7, 7], [0, 1]], np.uint8)
WEIGHTS = [[1.0, 0.5], [-1.0, 2.0], [0.25, 0.0]]


def dataset(samples: np.ndarray, scale: list[float], offset: list[float]) -> bytes:
    """Return a dataset as it travels, uncompressed."""
    header = {
        "format": 1, "count": len(samples), "shape": list(samples.shape[1:]), "dtype": samples.dtype.name, "scale": scale, "offset": offset,
        "filter": "none", "compression": "none", "payload_bytes": samples.nbytes,
    }  # fmt: skip
    return json.dumps(header).encode() + b"\n" + samples.tobytes()


PLAIN = dataset(SAMPLES, [1.0], [0.0])


class Here:
    """A device in a folder whose runtimes are this environment's, with networks and samples on it."""

    def __init__(
        self,
        folder: Path,
        networks: list[bytes],
        samples: bytes = PLAIN,
        *,
        python: str = "",
        board: Board | None = None,
        other: str = "",
    ) -> None:
        self.root = folder / "root"
        for runtime in (RUNTIME, OTHER):
            place = self.root / "runtime" / runtime.id
            place.mkdir(parents=True, exist_ok=True)
            starts = (other if runtime is OTHER else "") or python or sys.executable
            record = {"id": runtime.id, "package": runtime.package, "version": "0", "python": starts}
            (place / "proven.json").write_text(json.dumps(record))
        interpreter = sys.executable
        if board is not None:
            lines = [f"export {name}='{value}'" for name, value in board.environment.items()]
            interpreter = script(folder / "board-python", "\n".join([*lines, f'exec {sys.executable} "$@"']))
        self.device: Device = open_device(self.root, interpreter)
        self.data, path = blob(folder, samples)
        self.device.put(BlobKind.DATASET, self.data, path)
        self.digests: list[Digest] = []
        for network in networks:
            digest, path = blob(folder, network)
            self.device.put(BlobKind.CANDIDATE, digest, path)
            self.digests.append(digest)

    def __enter__(self) -> Here:  # noqa: PYI034 - Self is not in 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.device.close()

    def turn(self, index: int = 0, **options: Any) -> TurnRequest:
        """Return a turn of network `index`."""
        return TurnRequest(**{"digest": self.digests[index], "runtime": RUNTIME, "threads": 1, **options})

    def block(self, *turns: TurnRequest, warmup: int = 0, **options: Any) -> BlockReply:
        """Hold one block, of every network once where no turns are given."""
        asked = turns or tuple(self.turn(index) for index in range(len(self.digests)))
        return self.device.bench(self.data, asked, warmup=warmup, warmup_s=0.0, **options)


def measured(reply: TurnReply | Refusal) -> TurnReply:
    """Return a turn that was measured."""
    assert isinstance(reply, TurnReply), reply
    return reply


def outputs(reply: TurnReply | Refusal) -> np.ndarray:
    """Return a turn's outputs as an array."""
    turn = measured(reply)
    return np.frombuffer(turn.outputs, "<f4").reshape(turn.output_shape)


def exact(samples: np.ndarray) -> np.ndarray:
    """Return what the network of WEIGHTS answers."""
    return samples.astype(np.float32) @ np.array(WEIGHTS, np.float32).T


def test_raw_outputs_and_times_come_back_for_every_sample(tmp_path: Path) -> None:
    """Asked for all samples, a turn has one latency each and exact outputs of value * scale + offset through the network."""
    with Here(tmp_path, [dense(WEIGHTS)], dataset(SAMPLES, [0.5], [-1.0])) as here:
        (reply,) = here.block(warmup=2).turns
    assert np.array_equal(outputs(reply), exact(SAMPLES.astype(np.float32) * np.float32(0.5) - np.float32(1)))
    turn = measured(reply)
    assert len(turn.latencies_ns) == 5
    assert all(0 < one < 10**9 for one in (*turn.latencies_ns, turn.cold_ns, turn.load_ns))
    assert turn.warmup == 2


def test_a_turn_goes_round_the_samples(tmp_path: Path) -> None:
    """Inferences run on first, first + 1, ... modulo the number of samples; the outputs of one round at most are kept, or none."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        kept, dropped, round_and_on = here.block(
            here.turn(first=3, count=4), here.turn(first=1, count=2, keep=False), here.turn(first=4, count=9)
        ).turns
    assert np.array_equal(outputs(kept), exact(SAMPLES[[3, 4, 0, 1]]))
    assert (len(measured(dropped).latencies_ns), measured(dropped).outputs) == (2, b"")
    assert len(measured(round_and_on).latencies_ns) == 9
    assert np.array_equal(outputs(round_and_on), exact(SAMPLES[[4, 0, 1, 2, 3]]))


def test_a_turn_is_bounded_by_time_and_by_number(tmp_path: Path) -> None:
    """Inferences go on until the least time has passed, end with the most time once three are done, and are 5,000 at most."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        longer, cut, many = here.block(
            here.turn(count=3, min_s=0.05, max_s=1.0),
            here.turn(count=1_000_000, max_s=0.0),
            here.turn(count=3, min_s=60.0, max_s=120.0, keep=False),
        ).turns
    assert len(measured(longer).latencies_ns) > 3
    assert len(measured(cut).latencies_ns) == 3
    assert len(measured(many).latencies_ns) == 5000


def test_integer_ends_are_quantized_and_dequantized(tmp_path: Path) -> None:
    """An int8 network gets round(x / scale) + zero, clipped, and its outputs come back as floats."""
    with Here(tmp_path, [dense_int8([[4, 0], [0, 4]], scales=(0.5, 0.25, 1.0))]) as here:
        (reply,) = here.block().turns
    quantized = np.clip(np.rint(SAMPLES / np.float32(0.5)) + 3, -128, 127)
    assert np.array_equal(
        outputs(reply), np.clip(np.rint((quantized - 3) * 0.5), -126, 129).astype(np.float32)
    )


def test_turns_of_one_block_may_be_under_two_runtimes(tmp_path: Path) -> None:
    """Each turn runs under the runtime that it names, all of them within one block."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        reply = here.block(here.turn(), here.turn(runtime=OTHER), here.turn(threads=2))
    for turn in reply.turns:
        assert np.array_equal(outputs(turn), exact(SAMPLES))


def test_a_runtime_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A block under a runtime that was never installed ends with the reason."""
    absent = Runtime(id="absent", package="x", version="0", python="")
    with (
        Here(tmp_path, [dense(WEIGHTS)]) as here,
        pytest.raises(HostError, match="runtime absent is not installed here"),
    ):
        here.block(here.turn(runtime=absent))


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
    """A candidate that cannot load or run says why in the runtime's own words; the one beside it is measured, timed and examined alike."""
    with Here(tmp_path, [network, dense(WEIGHTS)]) as here:
        refused, fine = here.block().turns
        unfit, whole = here.device.examine(here.data, [(digest, RUNTIME, 1) for digest in here.digests])
    for failure in (refused, unfit):
        assert isinstance(failure, Refusal)
        assert failure.kind == kind
        assert words.lower() in failure.reason.lower()
    assert outputs(fine).shape == (5, 3)
    assert isinstance(whole, Examined)


def test_a_candidate_that_takes_its_process_with_it_is_a_row(tmp_path: Path) -> None:
    """A network that asks for more memory than the process may have fails alone, with a reason."""
    code = "import ai_edge_litert.interpreter, numpy; print(open('/proc/self/status').read().split('VmPeak:')[1].split()[0])"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    python = script(
        tmp_path / "python", f'ulimit -v {int(loaded.stdout) + 60_000}; exec {sys.executable} "$@"'
    )
    huge = dense([[1.0] * 2] * 8_000_000)
    with Here(tmp_path, [huge, dense(WEIGHTS)], python=python) as here:
        failed, fine = here.block().turns
    assert isinstance(failed, Refusal)
    assert failed.reason
    assert outputs(fine).shape == (5, 3)


def test_a_candidate_that_hangs_is_cut_off(tmp_path: Path) -> None:
    """A turn that takes longer than it may is ended and says so; the next one is measured."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        endless = here.turn(count=10_000_000, max_s=3600.0, keep=False)
        hung, fine = here.block(endless, here.turn(), turn_timeout_s=1.0).turns
    assert isinstance(hung, Refusal)
    assert hung.reason == "no answer after 1 s while running"
    assert outputs(fine).shape == (5, 3)


def test_a_block_longer_than_the_lease_is_no_silence(tmp_path: Path) -> None:
    """A trial whose controller waits for a block goes on, however short its lease."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        shipped = release(dense(WEIGHTS))
        here.device.stage(shipped)
        here.device.activate(shipped.id, expected_current=None, lease=Lease(seconds=2.0))
        endless = here.turn(count=10_000_000, max_s=3600.0, keep=False)
        here.block(endless, turn_timeout_s=5.0)
        here.device.confirm(shipped.id)
        assert here.device.slot().current == shipped.id


def test_a_turn_strides_over_the_samples(tmp_path: Path) -> None:
    """With a step, inferences run on every step-th sample, round and round; each sample's answer is its own."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        (reply,) = here.block(here.turn(first=4, step=3)).turns
    assert np.array_equal(outputs(reply), exact(SAMPLES[[4, 2, 0, 3, 1]]))


def test_a_release_is_measured_where_its_candidate_is_gone(tmp_path: Path) -> None:
    """The file of a release that is here serves as well, and one that was damaged does not."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        shipped = release(dense(WEIGHTS))
        here.device.stage(shipped)
        (here.root / "candidates" / shipped.model.digest.hex).unlink()
        (reply,) = here.block().turns
        assert np.array_equal(outputs(reply), exact(SAMPLES))
        model = here.root / "releases" / shipped.id / "model.tflite"
        model.write_bytes(model.read_bytes()[:-1] + b"x")
        with pytest.raises(HostError, match="is not on the device"):
            here.block()


def test_a_benchmark_process_that_is_killed_costs_one_turn(tmp_path: Path) -> None:
    """After the process behind a runtime was killed, the turn at hand is a failure at most, and the next block is measured as ever."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        here.block()
        for pid in _benchmarks_of(here.root):
            os.kill(pid, signal.SIGKILL)
        again = here.block(here.turn(), here.turn())
        assert np.array_equal(outputs(again.turns[-1]), exact(SAMPLES))


def test_a_benchmark_process_that_is_killed_at_work_costs_that_turn(tmp_path: Path) -> None:
    """Killed while a turn runs, the process and what it forked are gone; the turn says so, and the next one is measured in the same block."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        here.block()
        (pid,) = _benchmarks_of(here.root)
        with subprocess.Popen(["/bin/sh", "-c", f"sleep 1; kill -9 {pid}"]):
            endless = here.turn(count=10_000_000, max_s=3600.0, keep=False)
            lost, fine = here.block(endless, here.turn()).turns
        assert len(_benchmarks_of(here.root)) == 1
    assert isinstance(lost, Refusal)
    assert lost.reason.startswith("the benchmark process was lost")
    assert np.array_equal(outputs(fine), exact(SAMPLES))


def test_a_runtime_that_does_not_start_costs_its_own_turns(tmp_path: Path) -> None:
    """Beside a runtime that dies at its start the other is measured and examined; alone it is a fault of the device with the reason."""
    broken = script(tmp_path / "broken", "echo cannot map the library >&2; exit 3")
    with Here(tmp_path, [dense(WEIGHTS)], other=broken) as here:
        lost, fine = here.block(here.turn(runtime=OTHER), here.turn()).turns
        pairs = [(here.digests[0], runtime, 1) for runtime in (OTHER, RUNTIME)]
        unfit, whole = here.device.examine(here.data, pairs)
        with pytest.raises(HostError, match="the benchmark does not start: cannot map the library"):
            here.block(here.turn(runtime=OTHER))
    for refusal in (lost, unfit):
        assert refusal == Refusal(kind="load", reason="the runtime does not start: cannot map the library")
    assert np.array_equal(outputs(fine), exact(SAMPLES))
    assert isinstance(whole, Examined)


def test_a_controller_that_goes_in_the_middle_leaves_nothing_at_work(tmp_path: Path) -> None:
    """When the connection ends during an endless turn, the processes end and the device can be worked with again."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        here.block()
        (pid,) = _benchmarks_of(here.root)
        closer = threading.Timer(0.5, here.device.close)
        closer.start()
        with pytest.raises(HostError):
            here.block(here.turn(count=10_000_000, max_s=3600.0, keep=False))
        closer.join()
    _wait_for_the_end_of(pid)
    assert _benchmarks_of(here.root) == []
    (tmp_path / "root" / "bench-left").mkdir(exist_ok=True)
    with Here(tmp_path, [dense(WEIGHTS)]) as again:
        again.device.prune(3)
        assert list(again.root.glob("bench-*")) == []
        again.block()
        assert len(list(again.root.glob("bench-*"))) == 1


def test_nothing_is_left_once_the_dialogue_ends(tmp_path: Path) -> None:
    """When the controller goes, the benchmark processes end and their folder is removed."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        here.block()
        (pid,) = _benchmarks_of(here.root)
    _wait_for_the_end_of(pid)
    assert list(here.root.glob("bench-*")) == []


def test_another_dataset_is_another_process(tmp_path: Path) -> None:
    """A block over other samples runs on these."""
    with Here(tmp_path, [dense(WEIGHTS)]) as here:
        here.block()
        other = SAMPLES[:2] + 1
        data, path = blob(tmp_path, dataset(other, [1.0], [0.0]))
        here.device.put(BlobKind.DATASET, data, path)
        (reply,) = here.device.bench(data, [here.turn()], warmup=0, warmup_s=0.0).turns
    assert np.array_equal(outputs(reply), exact(other))


def test_outputs_that_are_no_numbers_come_back_as_they_are(tmp_path: Path) -> None:
    """NaN and infinity are passed on: the controller judges them."""
    with Here(tmp_path, [dense([[float("nan"), 0.0], [float("inf"), 1.0]])]) as here:
        (reply,) = here.block(here.turn(count=1)).turns
    assert np.isnan(outputs(reply)[0, 0])
    assert np.isinf(outputs(reply)[0, 1])


def test_a_dataset_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """A dataset shorter than its header says ends the benchmark with the reason."""
    lies = "the dataset holds less than its header says"
    with Here(tmp_path, [dense(WEIGHTS)], PLAIN[:-3]) as here, pytest.raises(HostError, match=lies):
        here.block()


def test_an_examination_tells_memory_and_the_fast_path(tmp_path: Path) -> None:
    """A network of 4 MB adds at least that to its process; its one operator is listed, and taken by the delegate or not."""
    with Here(tmp_path, [dense([[1.0, 2.0]] * 500_000)]) as here:
        (examined,) = here.device.examine(here.data, [(here.digests[0], RUNTIME, 1)])
    assert isinstance(examined, Examined)
    assert 4_000_000 < examined.peak_memory_bytes < 100_000_000
    assert examined.nodes == ("FULLY_CONNECTED",)
    assert examined.delegated in {(), (0,)}
    assert examined.partitions == len(examined.delegated)


SHARED = Path(__file__).parents[3] / "shared" / "data" / "models"
REAL = {
    "float32": ("model_float32.tflite", 30, set(), 1),
    "int8": ("model_int8_floatio.tflite", 32, {"SOFTMAX"}, 2),
}


@pytest.mark.parametrize(("name", "operators", "outside", "parts"), REAL.values(), ids=REAL.keys())
def test_the_fast_path_of_a_real_network_is_told(
    name: str, operators: int, outside: set[str], parts: int, tmp_path: Path
) -> None:
    """Of a MobileNet the delegate takes everything in one part, and of its int8 form all but the last softmax in two."""
    if not (SHARED / name).is_file():
        pytest.skip(f"needs the shared network {name}")
    photographs = dataset(np.zeros((1, 224, 224, 3), np.uint8), [1.0], [0.0])
    with Here(tmp_path, [(SHARED / name).read_bytes()], photographs) as here:
        (found,) = here.device.examine(here.data, [(here.digests[0], RUNTIME, 1)])
    assert isinstance(found, Examined)
    assert (len(found.nodes), found.partitions) == (operators, parts)
    left = [node for place, node in enumerate(found.nodes) if place not in found.delegated]
    assert set(left) == outside
    assert found.pss_bytes > 1_000_000


FAULTS = {
    "nothing": (lambda board: board.clock(1_800_000, 1_800_000).heat(45.0).firmware(FINE), ""),
    "under-voltage now": (lambda board: board.firmware(0x50001), "under-voltage"),
    "throttled meanwhile": (lambda board: board.firmware(FINE, 0x40000), "the board was throttled"),
    "capped long ago": (lambda board: board.firmware(0x20000), ""),
    "the clock falls": (
        lambda board: board.clock(1_800_000).firmware(
            FINE,
            then=f"test $count -eq 0 || echo 1400000 >'{board.folder}/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq'",
        ),
        "the clock fell from 1800 to 1400 MHz",
    ),
    "it gets hot": (
        lambda board: board.heat(50.0).firmware(
            FINE,
            then=f"test $count -eq 0 || echo 59500 >'{board.folder}/sys/class/thermal/thermal_zone0/temp'",
        ),
        "the temperature went from 50 to 60 degrees Celsius",
    ),
}


@pytest.mark.parametrize(("arrange", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_the_board_is_seen(arrange: Any, reason: str, tmp_path: Path) -> None:
    """What firmware and kernel say around a block comes back, and makes it void where it would spoil the times."""
    board = Board(tmp_path / "board")
    arrange(board)
    calm = ConditionLimits(busy_other=1.0)
    with Here(tmp_path, [dense(WEIGHTS)], board=board) as here:
        watch = here.block().watch
    assert void_reason(watch, None, calm) == reason


def test_a_hot_board_is_waited_for(tmp_path: Path) -> None:
    """A block begins once the board is no hotter than asked for."""
    board = Board(tmp_path / "board").heat(75.0)
    cooler = f"sleep 1; echo 50000 >'{board.folder}/sys/class/thermal/thermal_zone0/temp'"
    with (
        Here(tmp_path, [dense(WEIGHTS)], board=board) as here,
        subprocess.Popen(["/bin/sh", "-c", cooler]) as running,
    ):
        watch = here.block(cool_to_c=60.0).watch
        running.wait()
    assert watch.before.temperature_c == 50.0


def _benchmarks_of(root: Path) -> list[int]:
    """Return the processes that serve a runtime for an agent with this root."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"agent.bench" in word for word in words) and any(
            str(root).encode() in word for word in words
        ):
            found.append(int(entry.parent.name))
    return found


def _wait_for_the_end_of(pid: int) -> None:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        subprocess.run(["/bin/sleep", "0.05"], check=True)
    raise AssertionError(f"process {pid} still runs")
