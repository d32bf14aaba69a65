"""Measure candidates on this device, under the runtime's interpreter: interleaved in blocks, a fresh process for each turn.

This process loads NumPy and the runtime once and then forks for every (block, candidate): a candidate that crashes, hangs or exhausts the
memory takes its own process with it and is a record with the reason. A turn: build the Interpreter (timed: load), some untimed inferences, then
the block's samples, each `invoke` timed by itself with the monotonic clock. Raw outputs and raw times are what is returned.
"""

from __future__ import annotations

import json
import lzma
import os
import random
import select
import signal
import time
import zlib
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Tuple

from .runtime import MODULES

STDERR_LIMIT = 4000

Plan = Dict[str, Any]
Tell = Callable[[Dict[str, Any]], None]


def main(folder: str) -> None:
    """Carry out folder/plan.json and write folder/records.json and folder/<index>.outputs."""
    with open(os.path.join(folder, "plan.json"), encoding="utf-8") as file:
        plan = json.load(file)
    import importlib

    interpreter = importlib.import_module(MODULES[plan["package"]]).Interpreter
    samples = load_samples(plan["dataset"])
    records: List[Dict[str, Any]] = [
        {"latencies_ns": [], "blocks": [], "loads_ns": [], "peak_memory_bytes": 0} for _ in plan["networks"]
    ]
    turns = _turns(plan, samples.count)
    for done, (block, index, start, stop) in enumerate(turns, 1):
        if "reason" not in records[index]:
            turn = _Turn(plan, interpreter, samples, index, start, stop)
            _record(records[index], block, _in_a_process(turn, plan["turn_timeout_s"]))
        print(json.dumps({"event": "progress", "done": done, "total": len(turns)}), flush=True)
    for record in records:
        loads: List[int] = sorted(record.pop("loads_ns"))
        record["load_ns"] = loads[len(loads) // 2] if loads else 0
    with open(os.path.join(folder, "records.json"), "w", encoding="utf-8") as file:
        json.dump(records, file)


def _turns(plan: Plan, count: int) -> List[Tuple[int, int, int, int]]:
    """Return (block, candidate, first sample, sample behind the last) for each turn; every block has every candidate once, shuffled."""
    chance = random.Random(plan["seed"])
    blocks = max(1, min(plan["blocks"], count))
    edges = [count * block // blocks for block in range(blocks + 1)]
    turns = []
    for block in range(blocks):
        order = list(range(len(plan["networks"])))
        chance.shuffle(order)
        turns += [(block, index, edges[block], edges[block + 1]) for index in order]
    return turns


def _record(record: Dict[str, Any], block: int, answer: Dict[str, Any]) -> None:
    if "reason" in answer:
        record.update(kind=answer["kind"], reason=answer["reason"])
        return
    record["latencies_ns"] += answer["latencies_ns"]
    record["blocks"] += [block] * len(answer["latencies_ns"])
    record["loads_ns"].append(answer["load_ns"])
    record["peak_memory_bytes"] = max(record["peak_memory_bytes"], answer["peak_memory_bytes"])
    record["output_shape"] = answer["output_shape"]


class Samples:
    """The evaluation samples as they travelled, and how they become the network's input."""

    def __init__(self, values: Any, scale: List[float], offset: List[float]) -> None:
        import numpy

        self._values = values
        self._scale = numpy.asarray(scale, numpy.float32)
        self._offset = numpy.asarray(offset, numpy.float32)
        self._plain = scale == [1] and offset == [0]
        self.count = len(values)
        self.shape = list(values.shape[1:])

    def input(self, index: int) -> Any:
        """Return sample `index` as float32 [1, ...]."""
        import numpy

        value = self._values[index : index + 1].astype(numpy.float32)
        return value if self._plain else value * self._scale + self._offset


def load_samples(path: str) -> Samples:
    """Read a dataset: one line of JSON, then the samples, filtered and compressed as that line says."""
    import numpy

    with open(path, "rb") as file:
        header = json.loads(file.readline(1024 * 1024).decode("utf-8"))
        shape = [header["count"]] + header["shape"]
        values = numpy.empty(shape, numpy.dtype(header["dtype"]).newbyteorder("<"))
        target = memoryview(values.reshape(-1).view(numpy.uint8).data)
        filled = 0
        for chunk in _unpacked(file, header["compression"]):
            if filled + len(chunk) > len(target):
                raise ValueError("the dataset holds more than its header says")
            target[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
    if filled != len(target):
        raise ValueError("the dataset holds less than its header says")
    if header["filter"] == "sub":
        for sample in values:
            numpy.cumsum(sample, axis=1, dtype=numpy.uint8, out=sample)
    return Samples(values, header["scale"], header["offset"])


def _unpacked(file: BinaryIO, compression: str) -> Iterator[bytes]:
    unpack: Any = {"none": None, "zlib": zlib.decompressobj(), "lzma": lzma.LZMADecompressor()}[compression]
    while True:
        chunk = file.read(1024 * 1024)
        if not chunk:
            return
        yield chunk if unpack is None else unpack.decompress(chunk)


class _Turn:
    """One candidate's run over one block's samples, carried out in a process of its own."""

    def __init__(
        self, plan: Plan, interpreter: Any, samples: Samples, index: int, start: int, stop: int
    ) -> None:
        self.folder: str = plan["folder"]
        self._plan = plan
        self._interpreter = interpreter
        self._samples = samples
        self._index = index
        self._start = start
        self._stop = stop

    def run(self, tell: Tell) -> Dict[str, Any]:
        """Measure, tell the phase before each step that may crash, and return the record."""
        base = _status_bytes("VmRSS")
        tell({"phase": "load"})
        began = time.perf_counter_ns()
        network = self._interpreter(
            model_path=self._plan["networks"][self._index], num_threads=self._plan["threads"]
        )
        network.allocate_tensors()
        load_ns = time.perf_counter_ns() - began
        tell({"phase": "run"})
        ends = _Ends(network, self._samples.shape)
        for _ in range(self._plan["warmup"]):
            ends.infer(self._samples.input(self._start))
        latencies, outputs = [], []
        for index in range(self._start, self._stop):
            latency, output = ends.infer(self._samples.input(index))
            latencies.append(latency)
            outputs.append(output)
        self._write(outputs)
        return {
            "load_ns": load_ns,
            "latencies_ns": latencies,
            "output_shape": [self._samples.count, *outputs[0].shape[1:]],
            "peak_memory_bytes": max(0, _status_bytes("VmHWM") - base),
        }

    def _write(self, outputs: List[Any]) -> None:
        path = os.path.join(self.folder, "%d.outputs" % self._index)
        with open(path, "ab") as file:
            file.writelines(output.astype("<f4").tobytes() for output in outputs)


class _Ends:
    """A network's input and output, quantized and dequantized where they are integers."""

    def __init__(self, network: Any, shape: List[int]) -> None:
        self._network = network
        self._input = network.get_input_details()[0]
        self._output = network.get_output_details()[0]
        found = [int(size) for size in self._input["shape"]]
        expected = [1, *shape]
        if found != expected:
            raise ValueError("the network takes %s: expected %s, one sample" % (found, expected))

    def infer(self, value: Any) -> Tuple[int, Any]:
        """Return (nanoseconds of the inference alone, float32 output [1, ...])."""
        self._network.set_tensor(self._input["index"], self._quantized(value))
        began = time.perf_counter_ns()
        self._network.invoke()
        took = time.perf_counter_ns() - began
        return took, self._dequantized(self._network.get_tensor(self._output["index"]))

    def _quantized(self, value: Any) -> Any:
        import numpy

        kind = self._input["dtype"]
        scale, zero = self._input["quantization"]
        if not numpy.issubdtype(kind, numpy.integer):
            return value.astype(kind, copy=False)
        if scale:
            value = value / numpy.float32(scale) + numpy.float32(zero)
        limits = numpy.iinfo(kind)
        return numpy.clip(numpy.rint(value), limits.min, limits.max).astype(kind)

    def _dequantized(self, value: Any) -> Any:
        import numpy

        scale, zero = self._output["quantization"]
        if numpy.issubdtype(value.dtype, numpy.integer) and scale:
            return (value.astype(numpy.float32) - numpy.float32(zero)) * numpy.float32(scale)
        return value.astype(numpy.float32)


def _status_bytes(name: str) -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def _in_a_process(turn: _Turn, timeout_s: float) -> Dict[str, Any]:
    """Fork, carry out `turn` there and return its record, or {kind, reason} where it failed, crashed or took too long."""
    ours, theirs = os.pipe()
    said_path = os.path.join(turn.folder, "said")
    child = os.fork()
    if child == 0:
        os.close(ours)
        _be_the_child(turn, theirs, said_path)
    os.close(theirs)
    answers, timed_out = _read_lines(ours, time.monotonic() + timeout_s)
    os.close(ours)
    if timed_out:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return _outcome(answers, timed_out, status, timeout_s, _tail(said_path))


def _be_the_child(turn: _Turn, pipe: int, said_path: str) -> None:
    """Never returns: what goes wrong here is told through the pipe or by how this process ends."""
    code = 1
    try:
        said = os.open(said_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)

        def tell(fields: Any) -> None:
            data = json.dumps(fields).encode("utf-8") + b"\n"
            while data:
                data = data[os.write(pipe, data) :]

        try:
            tell(turn.run(tell))
            code = 0
        except MemoryError:
            tell({"reason": "the device is out of memory"})
        except Exception as error:  # noqa: BLE001 - the runtimes raise anything
            tell({"reason": "%s" % error or type(error).__name__})
    finally:
        os._exit(code)


def _read_lines(pipe: int, deadline: float) -> Tuple[List[Dict[str, Any]], bool]:
    """Return (the JSON lines up to the end of the pipe, whether the time was up)."""
    content = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return _parsed(content), True
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            return _parsed(content), False
        content += chunk


def _parsed(content: bytes) -> List[Dict[str, Any]]:
    return [json.loads(line.decode("utf-8")) for line in content.split(b"\n")[:-1]]


def _outcome(
    answers: List[Dict[str, Any]], timed_out: bool, status: int, timeout_s: float, said: str
) -> Dict[str, Any]:
    kind = next((answer["phase"] for answer in reversed(answers) if "phase" in answer), "load")
    doing = "loading" if kind == "load" else "running"
    last = answers[-1] if answers else {}
    if timed_out:
        return {"kind": kind, "reason": "no answer after %g s while %s" % (timeout_s, doing)}
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return {"kind": kind, "reason": _with("killed by %s while %s%s" % (name, doing, hint), said)}
    if "reason" in last:
        return {"kind": kind, "reason": _with(last["reason"], said)}
    if "latencies_ns" not in last:
        return {"kind": kind, "reason": _with("ended without an answer while %s" % doing, said)}
    return last


def _with(reason: str, said: str) -> str:
    """Put the runtime's own last complaint behind a reason that does not hold it already."""
    reason = " ".join(reason.split())
    complaints = [line for line in said.splitlines() if "ERROR" in line.upper()]
    if complaints and complaints[-1].split("ERROR:")[-1].strip() not in reason:
        reason += "; " + complaints[-1].strip()
    return reason[:1000]


def _tail(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()[-STDERR_LIMIT:]
    except OSError:
        return ""
