"""Proof: the files of twelve schemes from one float32 network in seconds, made by LiteRT Quantizer and without TensorFlow.

The time is a wall clock's, from no process at all to the last file, with nothing cached; beside it stands what the processors worked for it.

Run: make proof-schemes
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.proofs.figures import Figures
from ota.core.events import Event, StepFinished
from ota.core.measurement import Failure
from ota.core.playbook import DataSpec, Preprocessing
from ota.core.scheme import BASELINE, SCHEMES, Scheme, Tool, scheme_named
from ota.quantize.convert import CandidateFile, Conversion, Converter, network_of
from ota.quantize.dataset import Dataset
from ota.quantize.load import load_representative
from ota.quantize.source import ModelSource, recognise

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
EXAMPLE = ROOT / "examples" / "waste_sorting"
TWELVE = (
    "float16_storage", "weight_only_int8", "dynamic_int8", "dynamic_int8_compat", "static_int8", "static_int8_octav", "static_int16x8",
    "weight_only_int4", "dynamic_int4", "dynamic_int4_block32", "dynamic_int4_gptq", "dynamic_int4_oscar",
)  # fmt: skip
"""Every kind of scheme, and all three ways of calibrating."""


class _Folder:
    """Keeps files by key in a folder that starts empty."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str) -> Path | None:
        """Return the file of `key`."""
        return self.path / key if (self.path / key).exists() else None

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content`."""
        (self.path / key).write_bytes(content)
        return self.path / key


@dataclass(kw_only=True)
class _Made:
    """What a run made and took; `libraries` are the files that its processes had mapped."""

    conversions: tuple[Conversion, ...]
    wall_s: float
    cpu_s: float
    seconds: dict[str, float]
    libraries: frozenset[str]


def main() -> None:
    """Make twelve files, then those of every scheme."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        source, data = _network(Path(folder))
        twelve = _made(source, data, [scheme_named(name) for name in TWELVE])
        every = _made(source, data, [scheme for scheme in SCHEMES if scheme.tool is Tool.QUANTIZER])
    _print(every)
    print(
        f"twelve files: {twelve.wall_s:.2f} s, {twelve.cpu_s:.2f} s of processor time, {os.cpu_count()} cores"
    )
    print(f"all {len(every.conversions)}: {every.wall_s:.2f} s, {every.cpu_s:.2f} s of processor time")
    files = [one for one in twelve.conversions if isinstance(one, CandidateFile)]
    figures.add("files made of twelve schemes", len(files), "=", 12)
    figures.add("twelve files", round(twelve.wall_s, 2), "<=", 6, unit=" s")
    made = sum(isinstance(one, CandidateFile) for one in every.conversions)
    figures.add("schemes, float32 and the quantizer's", made + 1, ">=", 12)
    loaded = sorted(
        {"tensorflow", "ai_edge_litert"} & {part for name in every.libraries for part in Path(name).parts}
    )
    figures.holds(
        "libraries in the quantizing process",
        met=loaded == ["ai_edge_litert"],
        found=", ".join(loaded) or "none",
        goal="ai_edge_litert, no tensorflow",
    )
    figures.finish()


def _network(folder: Path) -> tuple[ModelSource, Dataset]:
    """Return a float32 .tflite and its representative dataset: the shared network, else the example's, converted first."""
    path = SHARED / "models" / "model_float32.tflite"
    data = SHARED / "waste" / "representative"
    scaled = Preprocessing(scale=(1 / 127.5,), offset=(-1.0,))
    if not path.exists():
        print("the shared network is not on this machine: the example's is taken")
        data = EXAMPLE / "representative"
        with Converter(recognise(EXAMPLE / "model.keras"), cache=_Folder(folder), emit=_nothing) as converter:
            (made,) = converter.convert([scheme_named(BASELINE)])
        assert isinstance(made, CandidateFile), made.reason
        path = made.path
    source = recognise(path)
    with Converter(source, cache=_Folder(folder), emit=_nothing) as converter:
        (own,) = converter.convert([scheme_named(BASELINE)])
    return source, load_representative(DataSpec(path=data), scaled, network_of(source, own))


def _made(source: ModelSource, data: Dataset, schemes: list[Scheme]) -> _Made:
    seconds: dict[str, float] = {}
    libraries: set[str] = set()

    def note(event: Event) -> None:
        if isinstance(event, StepFinished):
            seconds[event.step.removeprefix("convert ")] = time.perf_counter() - start - sum(seconds.values())
            for pid in converter.pids:
                maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
                libraries.update(line.split(maxsplit=5)[5] for line in maps if len(line.split()) > 5)

    before = _children_s()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with Converter(source, cache=_Folder(Path(folder)), emit=note) as converter:
            conversions = converter.convert(schemes, data)
            wall = time.perf_counter() - start
    return _Made(
        conversions=conversions,
        wall_s=wall,
        cpu_s=_children_s() - before,
        seconds=seconds,
        libraries=frozenset(libraries),
    )


def _children_s() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(made: _Made) -> None:
    for one in made.conversions:
        if isinstance(one, Failure):
            print(f"{one.scheme:24} {one.reason}")
        else:
            name = one.candidate.scheme
            print(f"{name:24} {one.candidate.size_bytes:>9} bytes {made.seconds[name]:6.2f} s")


def _nothing(event: Event) -> None:
    """Events of what is not measured."""


if __name__ == "__main__":
    main()
