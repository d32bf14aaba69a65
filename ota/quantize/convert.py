"""Convert a network under several schemes, in parallel child processes, each file once and for ever.

Invariants: a scheme that fails, or takes its process with it, is a Failure and never the end of the run; what was converted before from the
same model, scheme, representative data and converter is taken from the cache, and where all of it was no process is started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType

from ota.core.events import Event, Progressed, StepFinished
from ota.core.measurement import Candidate, Failure, FailureKind
from ota.core.release import Digest
from ota.core.scheme import Scheme, SourceKind
from ota.errors import ContentError, Fault, UsageError
from ota.quantize.cache import Cache
from ota.quantize.dataset import Dataset
from ota.quantize.flatbuffer import FlatbufferError, Network, read_network
from ota.quantize.pool import Pool
from ota.quantize.recipe import RECIPES
from ota.quantize.source import ModelSource

Emit = Callable[[Event], None]

_CACHE_FORMAT = 1
_TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64", "tensorflow-macos")
_LIMIT_S = 1800.0
_INPUT_TYPES = frozenset({"float32", "uint8", "int8", "int16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFile:
    """A candidate and the .tflite that holds it; `cached`: nothing was converted for it in this run."""

    candidate: Candidate
    path: Path
    cached: bool


Conversion = CandidateFile | Failure


def converter_version() -> str:
    """Return the version of TensorFlow, without loading it; UsageError where it is not installed."""
    for name in _TENSORFLOW:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise UsageError(
        "TensorFlow, which converts the network, is not installed", hint="pip install tensorflow"
    )


def convert_all(
    source: ModelSource,
    schemes: Sequence[Scheme],
    representative: Dataset | None,
    *,
    cache: Cache,
    emit: Emit,
    jobs: int | None = None,
) -> tuple[Conversion, ...]:
    """Return a file or a failure for each of `schemes`, in their order; see `Converter.convert`."""
    with Converter(source, cache=cache, emit=emit, jobs=jobs) as converter:
        return converter.convert(schemes, representative)


class Converter:
    """Converts one source; a context manager that keeps its processes, and the network they have loaded, between calls.

    `jobs` is how many processes at most (None: two, or one on a machine with one processor); `limit_s` is how long one scheme may take.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        cache: Cache,
        emit: Emit,
        jobs: int | None = None,
        limit_s: float = _LIMIT_S,
    ) -> None:
        cpus = os.cpu_count() or 1
        count = min(2, cpus) if jobs is None else max(1, jobs)
        self._source = source
        self._cache = cache
        self._emit = emit
        self._pool = Pool(source, jobs=count, threads=max(1, cpus // count), limit_s=limit_s)

    def __enter__(self) -> Converter:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the converting children."""
        return self._pool.pids

    def convert(
        self, schemes: Sequence[Scheme], representative: Dataset | None = None, *, ahead: int = 0
    ) -> tuple[Conversion, ...]:
        """Return a file or a failure for each of `schemes`, in their order.

        `ahead` says how many more will be asked for later, so that processes for them can load the network meanwhile.

        Raises:
            ContentError: the network cannot be loaded, or is of a kind that cannot be measured.
            UsageError: TensorFlow is not installed.
        """
        if self._source.kind is SourceKind.TFLITE:
            return tuple(self._as_handed_in(scheme) for scheme in schemes)
        digest = representative.digest if representative is not None else None
        keys = {scheme.name: self._key(scheme, digest) for scheme in schemes}
        done: dict[str, Conversion] = {}
        for scheme in schemes:
            kept = self._cache.get(keys[scheme.name])
            content = kept.read_bytes() if kept is not None else b""
            if kept is not None and _is_complete(content):
                done[scheme.name] = _file(scheme.name, content, kept, cached=True)
                self._tell(done[scheme.name], len(done), len(schemes))
        missing = [scheme for scheme in schemes if scheme.name not in done]
        if missing:
            for name, outcome in self._pool.run(missing, representative, ahead=ahead):
                done[name] = self._keep(name, keys[name], outcome)
                self._tell(done[name], len(done), len(schemes))
        return tuple(done[scheme.name] for scheme in schemes)

    def _as_handed_in(self, scheme: Scheme) -> CandidateFile:
        candidate = Candidate(
            scheme=scheme.name, digest=self._source.digest, size_bytes=self._source.path.stat().st_size
        )
        return CandidateFile(candidate=candidate, path=self._source.path, cached=True)

    def _key(self, scheme: Scheme, representative: Digest | None) -> str:
        """Everything a file depends on; the representative data only where the scheme looks at it."""
        parts = {
            "format": _CACHE_FORMAT,
            "model": self._source.digest.hex,
            "scheme": scheme.name,
            "recipe": asdict(RECIPES[scheme.name]),
            "representative": representative.hex if representative and scheme.representative else "",
            "converter": converter_version(),
        }
        return f"convert-{Digest.of(json.dumps(parts, sort_keys=True).encode()).hex}"

    def _keep(self, scheme: str, key: str, outcome: bytes | Failure) -> Conversion:
        if isinstance(outcome, Failure):
            return outcome
        if not _is_complete(outcome):
            return Failure(
                scheme=scheme,
                kind=FailureKind.CONVERSION,
                reason="the converter made a file that is no .tflite",
            )
        return _file(scheme, outcome, self._cache.put(key, outcome), cached=False)

    def _tell(self, conversion: Conversion, done: int, total: int) -> None:
        if isinstance(conversion, Failure):
            scheme, result, detail = conversion.scheme, "failed", conversion.reason
        else:
            scheme = conversion.candidate.scheme
            result = "ok" if conversion.cached else "changed"
            detail = f"{conversion.candidate.size_bytes} bytes"
        self._emit(StepFinished(host="", step=f"convert {scheme}", result=result, detail=detail))
        self._emit(Progressed(host="", step="convert", done=done, total=total))


def network_of(source: ModelSource, baseline: Conversion) -> Network:
    """Return what the first converted file says of the network: the shapes that the data must fit.

    Raises:
        ContentError: there is no such file, or devices cannot measure a network of this kind.
    """
    if isinstance(baseline, Failure):
        problem = f"no {baseline.scheme} file can be made of it: {baseline.reason}"
        raise ContentError(Fault(file=str(source.path), problem=problem))
    network = source.network or read_network(baseline.path.read_bytes())
    problem = ""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        problem = f"expected 1 input and 1 output, found {len(network.inputs)} and {len(network.outputs)}"
    elif network.inputs[0].type not in _INPUT_TYPES:
        problem = f"expected an input of float32, found {network.inputs[0]}"
    elif network.inputs[0].shape[:1] != (1,):
        problem = f"expected an input with a batch of 1, found {network.inputs[0]}"
    if problem:
        raise ContentError(Fault(file=str(source.path), problem=f"the network cannot be used: {problem}"))
    return network


def _is_complete(content: bytes) -> bool:
    try:
        read_network(content)
    except FlatbufferError:
        return False
    return True


def _file(scheme: str, content: bytes, path: Path, *, cached: bool) -> CandidateFile:
    candidate = Candidate(scheme=scheme, digest=Digest.of(content), size_bytes=len(content))
    return CandidateFile(candidate=candidate, path=path, cached=cached)
