"""The loop of a process that makes one .tflite after another: what the child processes of this room have in common.

Requests come as lines of JSON on stdin: first what to load, {path, ...}, then {scheme, output, samples, scale, offset} for each scheme. Answers go as
lines of JSON to the descriptor that was stdout: {scheme}, {scheme, problem} or {fatal}. All else that is printed goes to stderr.
When stdin closes, the process ends at once, whatever it is doing: it never outlives the controller.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_REASON = 300

Request = dict[str, Any]
Answer = Callable[[dict[str, str]], None]
Maker = Callable[[Request], bytes]
"""Makes the .tflite that a request asks for; whatever it raises becomes the reason why there is none."""


class UnfitNetworkError(ValueError):
    """The network loads, and is of a kind that cannot be used here, or not under this scheme; the message says why."""


def serve(load: Callable[[Request], Maker]) -> None:
    """Load what the first request names, and answer the others until stdin closes."""
    answer = _answers()
    requests = _requests()
    job = requests.get()
    try:
        make = load(job)
    except Exception as error:  # noqa: BLE001 - the tools raise anything; the controller must hear of it
        answer({"fatal": _one_line(error)})
        return
    while True:
        request = requests.get()
        try:
            Path(request["output"]).write_bytes(make(request))
        except Exception as error:  # noqa: BLE001 - as above: a scheme that fails is a row with its reason
            answer({"scheme": request["scheme"], "problem": _one_line(error)})
        else:
            answer({"scheme": request["scheme"]})


def samples_of(request: Request, most: int | None = None) -> Iterator[NDArray[np.float32]]:
    """Yield the representative samples that a request names as inputs, float32 [1, ...]; `most` of them, spread evenly, where there are more."""
    samples = np.load(request["samples"], allow_pickle=False, mmap_mode="r")
    scale, offset = (np.asarray(request[name], np.float32) for name in ("scale", "offset"))
    count = len(samples)
    taken = count if most is None else min(count, most)
    for step in range(taken):
        index = step * count // taken
        yield samples[index : index + 1].astype(np.float32) * scale + offset


def _answers() -> Answer:
    """Keep stdout for answers, and send whatever else is printed to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(fields: dict[str, str]) -> None:
        stream.write(json.dumps(fields) + "\n")
        stream.flush()

    return answer


def _requests() -> SimpleQueue[Request]:
    queue: SimpleQueue[Request] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            queue.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return queue


def _one_line(error: Exception) -> str:
    """Return the line of an error that says most: the converter's messages run to pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "Could not locate" in line] or lines or [""]
    text = telling[0].rpartition("error:")[2].strip()
    if "Could not locate" in text:
        text = text[text.find("Could not locate") :].partition(". ")[0] + "."
    if isinstance(error, UnfitNetworkError):
        return text
    return f"{type(error).__name__}: {text}"[:_MAX_REASON]
