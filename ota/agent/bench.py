"""Run networks under one runtime, each turn in a fresh process: what the agent starts under the runtime's own interpreter.

This process loads NumPy, the runtime and the samples once, and then reads requests, one line of JSON each, until its stdin ends. For every request it forks: a
network that crashes, hangs or exhausts the memory takes its own process with it and is an answer with the reason. A turn: build the Interpreter and allocate (timed),
one inference (timed), a fixed warm-up, then the samples, each `invoke` timed by itself with the monotonic clock. An examination: the same once, untimed, for the
memory that it takes and the operators that the fast path took.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, Tuple

from . import delegates, isolate
from .runtime import MODULES
from .samples import Samples, load_samples

MOST_INFERENCES = 5000
"""So many timed inferences of a turn that is bounded by time are enough."""
LEAST_INFERENCES = 3
_CACHE_BYTES = 64 * 1024 * 1024

Request = Dict[str, Any]
Tell = Callable[[Dict[str, Any]], None]


def main(package: str, dataset: str, shared: str) -> None:
    """Serve requests from stdin and answer on stdout, a line each; `shared` is the number of the memory to have the samples in, empty for our own."""
    import importlib

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    bench = Bench(
        importlib.import_module(MODULES[package]).Interpreter,
        load_samples(dataset, int(shared) if shared else None),
    )
    gc.freeze()
    out.write(json.dumps({"ready": True, "samples": bench.samples.count}) + "\n")
    out.flush()
    for line in sys.stdin:
        request = json.loads(line)
        bench.prepare(request)
        job = {"turn": bench.turn, "examine": bench.examine}[request["job"]]

        def run(tell: Tell, job: Any = job, request: Request = request) -> Dict[str, Any]:
            answer: Dict[str, Any] = job(request, tell)
            return answer

        try:
            answer = isolate.run(run, request["timeout_s"], request["said"], (0, out.fileno()))
        except EOFError:
            return
        out.write(json.dumps(answer) + "\n")
        out.flush()


class Bench:
    """The runtime and the samples; its jobs are carried out in processes of their own."""

    def __init__(self, interpreter: Any, samples: Samples) -> None:
        self.samples = samples
        self._interpreter = interpreter
        self._inputs: Dict[int, Any] = {}

    def prepare(self, request: Request) -> None:
        """Convert the samples that a turn begins with, once for all turns of a block: what the children share costs them nothing."""
        if request["job"] != "turn":
            return
        # As many as fit: a fast network's turn runs on more samples than its count, and its time is not to be spent on converting them.
        reach = min(self.samples.count, max(1, _CACHE_BYTES // self.samples.input_bytes))
        wanted = [_place(request, number) % self.samples.count for number in range(reach)]
        held = {index: self._inputs[index] for index in wanted if index in self._inputs}
        self._inputs = {
            index: held[index] if index in held else self.samples.input(index) for index in wanted
        }

    def turn(self, request: Request, tell: Tell) -> Dict[str, Any]:
        """Load, warm up and time one network; tell the phase before each step that may crash."""
        gc.disable()
        tell({"phase": "load"})
        began = time.perf_counter_ns()
        network = self._built(request)
        load_ns = time.perf_counter_ns() - began
        tell({"phase": "run"})
        ends = Ends(network, self.samples.shape)
        cold_ns, _ = ends.infer(self._input(_place(request, 0)))
        warmup = self._warm_up(ends, request)
        latencies, kept, shape = self._timed(ends, request)
        _write(request["body"], latencies, kept)
        return {
            "load_ns": load_ns,
            "cold_ns": cold_ns,
            "warmup": warmup,
            "inferences": len(latencies),
            "output_shape": [len(kept), *shape],
        }

    def examine(self, request: Request, tell: Tell) -> Dict[str, Any]:
        """Load and run one network once; return what it added to this process's memory, and what the fast path took."""
        tell({"phase": "load"})
        _forget_peak()
        base, base_pss = _status_bytes("VmRSS"), _pss_bytes()
        began = time.perf_counter_ns()
        network = self._built(request)
        tell({"phase": "run"})
        Ends(network, self.samples.shape).infer(self.samples.input(0))
        answer = {
            "spent_ns": time.perf_counter_ns() - began,
            "peak_memory_bytes": max(0, _status_bytes("VmHWM") - base),
            "pss_bytes": max(0, _pss_bytes() - base_pss),
        }
        answer.update(delegates.found(network))
        return answer

    def _built(self, request: Request) -> Any:
        network = self._interpreter(model_path=request["network"], num_threads=request["threads"])
        network.allocate_tensors()
        return network

    def _input(self, index: int) -> Any:
        place = index % self.samples.count
        held = self._inputs.get(place)
        return self.samples.input(place) if held is None else held

    def _warm_up(self, ends: Ends, request: Request) -> int:
        """Run so many inferences and so long, though no longer than max_s: a fixed warm-up, not one until times look stable."""
        began, done, most = time.perf_counter(), 0, request["max_s"]
        while True:
            passed = time.perf_counter() - began
            if done >= request["warmup"] and passed >= request["warmup_s"]:
                return done
            if most is not None and done and passed >= most:
                return done
            ends.infer(self._input(_place(request, done)))
            done += 1

    def _timed(self, ends: Ends, request: Request) -> Tuple[List[int], List[Any], Tuple[int, ...]]:
        """Return the latencies, the outputs to keep and the shape of one; a network that answers in several shapes is a ValueError."""
        count = request["count"] or self.samples.count
        latencies: List[int] = []
        kept: List[Any] = []
        shape: Tuple[int, ...] = ()
        began = time.perf_counter()
        while not _enough(len(latencies), count, time.perf_counter() - began, request):
            took, output = ends.infer(self._input(_place(request, len(latencies))))
            if latencies and output.shape[1:] != shape:
                raise ValueError("the network answers in several shapes: %s, %s" % (shape, output.shape[1:]))
            shape = output.shape[1:]
            latencies.append(took)
            if request["keep"] and len(kept) < self.samples.count:
                kept.append(output)
        return latencies, kept, shape


def _place(request: Request, number: int) -> int:
    """Return the place, modulo the number of samples, of a turn's sample of that number."""
    return int(request["first"]) + number * int(request["step"])


def _write(path: str, latencies: List[int], kept: List[Any]) -> None:
    """Write the raw answer of a turn: int64 nanoseconds, then float32 outputs, all little-endian."""
    import numpy

    with open(path, "wb") as file:
        file.write(numpy.asarray(latencies, "<i8").tobytes())
        file.writelines(output.astype("<f4").tobytes() for output in kept)


def _enough(done: int, count: int, seconds: float, request: Request) -> bool:
    if request["max_s"] is None:
        return done >= count
    if done >= LEAST_INFERENCES and seconds >= request["max_s"]:
        return True
    return done >= count and (seconds >= request["min_s"] or done >= MOST_INFERENCES)


class Ends:
    """A network's input and output, quantized and dequantized where they are integers."""

    def __init__(self, network: Any, shape: List[int]) -> None:
        self._network = network
        self._input = network.get_input_details()[0]
        self._output = network.get_output_details()[0]
        found = [int(size) for size in self._input["shape"]]
        expected = [1, *shape]
        if found != expected:
            raise ValueError("the network takes %s: expected %s, one sample" % (found, expected))

    def infer(self, value: Any) -> Any:
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
    return _kilobytes("/proc/self/status", name)


def _pss_bytes() -> int:
    return _kilobytes("/proc/self/smaps_rollup", "Pss")


def _kilobytes(path: str, name: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _forget_peak() -> None:
    """Let VmHWM begin anew; where that may not be, it is that of a process which has done nothing yet but load the samples."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass
