"""Make the candidates of a model under several schemes, in child processes, each file once and for ever.

Invariants: a scheme that fails, or takes its process with it, is a Failure and never the end of the run; what was made before from the
same model, scheme, representative data and tool is taken from the cache, and where all of it was no process is started; a file that is no other than the
float32 one, or than an earlier scheme's, is no candidate. What becomes of each scheme is told in the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ota.core.events import Event, Progressed, StepFinished
from ota.core.measurement import Candidate, Failure, FailureKind
from ota.core.release import Digest
from ota.core.scheme import BASELINE, Scheme, SourceKind, Tool, scheme_named
from ota.errors import ContentError, Fault
from ota.quantize.cache import Cache
from ota.quantize.dataset import Dataset
from ota.quantize.flatbuffer import FlatbufferError, Network, read_network
from ota.quantize.graph import read_graph
from ota.quantize.keys import key_of
from ota.quantize.pool import Outcome
from ota.quantize.source import ModelSource
from ota.quantize.tools import Tools

Emit = Callable[[Event], None]

_LIMIT_S = 1800.0
_INPUT_TYPES = frozenset({"float32", "uint8", "int8", "int16"})
_UNTAKEN = "no operator of this network takes it: the file would be float32 still"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFile:
    """A candidate and the .tflite that holds it; `cached`: nothing was made for it in this run."""

    candidate: Candidate
    path: Path
    cached: bool


Conversion = CandidateFile | Failure


def convert_all(
    source: ModelSource,
    schemes: Sequence[Scheme],
    representative: Dataset | None,
    *,
    cache: Cache,
    emit: Emit,
    jobs: int = 1,
) -> tuple[Conversion, ...]:
    """Return a file or a failure for each of `schemes`, in their order; see `Converter.convert`."""
    with Converter(source, cache=cache, emit=emit, jobs=jobs) as converter:
        return converter.convert(schemes, representative)


class Converter:
    """Makes the candidates of one source; a context manager that keeps its processes, and the network they have loaded, between calls.

    `jobs` is how many processes convert at most, each of which loads TensorFlow and the network for itself: with one, what another would win it spends on loading; `limit_s` is how long one scheme may take.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        cache: Cache,
        emit: Emit,
        jobs: int = 1,
        limit_s: float = _LIMIT_S,
    ) -> None:
        self._source = source
        self._cache = cache
        self._emit = emit
        self._tools = Tools(source, jobs=max(1, jobs), limit_s=limit_s)
        self._float32: Conversion | None = None
        self._makers: dict[Digest, str] = {}

    def __enter__(self) -> Converter:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tools.__exit__(kind, error, trace)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children."""
        return self._tools.pids

    def convert(
        self,
        schemes: Sequence[Scheme],
        representative: Dataset | None = None,
        *,
        ahead: Sequence[Scheme] = (),
    ) -> tuple[Conversion, ...]:
        """Return a file or a failure for each of `schemes`, in their order.

        `ahead` are those that will be asked for later, so that processes for them can load the network meanwhile.

        Raises:
            ContentError: the network cannot be loaded, or is of a kind that cannot be measured.
            UsageError: TensorFlow, which a scheme needs, is not installed.
        """
        ready: dict[str, Conversion] = {}
        told: list[Conversion] = []
        for name, conversion in self._made(schemes, representative, ahead):
            ready[name] = conversion
            while len(told) < len(schemes) and schemes[len(told)].name in ready:
                told.append(self._told_apart(ready[schemes[len(told)].name]))
                self._tell(told[-1], len(told), len(schemes))
        return tuple(told)

    def _made(
        self, schemes: Sequence[Scheme], representative: Dataset | None, ahead: Sequence[Scheme]
    ) -> Iterator[tuple[str, Conversion]]:
        """Yield what becomes of each scheme: the converter's first, for the quantizer starts from its float32 file."""
        later = sum(scheme.tool is Tool.CONVERTER for scheme in ahead)
        yield from self._converted(
            [scheme for scheme in schemes if scheme.tool is Tool.CONVERTER], representative, later
        )
        rest = [scheme for scheme in schemes if scheme.tool is Tool.QUANTIZER]
        if not rest:
            return
        if self._float32 is None:
            for _ in self._converted([scheme_named(BASELINE)], None, 0):
                pass
        yield from self._quantized(rest, representative)

    def _converted(
        self, schemes: Sequence[Scheme], representative: Dataset | None, ahead: int
    ) -> Iterator[tuple[str, Conversion]]:
        if self._source.kind is SourceKind.TFLITE:
            made: Iterator[tuple[str, Conversion]] = (
                (scheme.name, self._as_handed_in(scheme)) for scheme in schemes
            )
        else:
            keys = self._keys(schemes, self._source.digest, representative)
            made = self._cached_or(
                keys, schemes, lambda missing: self._tools.convert(missing, representative, ahead=ahead)
            )
        for name, conversion in made:
            if name == BASELINE:
                self._float32 = conversion
            yield name, conversion

    def _quantized(
        self, schemes: Sequence[Scheme], representative: Dataset | None
    ) -> Iterator[tuple[str, Conversion]]:
        float32 = self._float32
        if not isinstance(float32, CandidateFile):
            why = (
                f"there is no float32 file to start from: {float32.reason if float32 else 'it was not made'}"
            )
            for scheme in schemes:
                yield scheme.name, Failure(scheme=scheme.name, kind=FailureKind.CONVERSION, reason=why)
            return
        path = float32.path
        types = _types(path)
        keys = self._keys(schemes, float32.candidate.digest, representative)
        for name, conversion in self._cached_or(
            keys, schemes, lambda missing: self._tools.quantize(path, missing, representative)
        ):
            if isinstance(conversion, CandidateFile) and _types(conversion.path) <= types:
                yield name, Failure(scheme=name, kind=FailureKind.NOT_OFFERED, reason=_UNTAKEN)
            else:
                yield name, conversion

    def _keys(
        self, schemes: Sequence[Scheme], model: Digest, representative: Dataset | None
    ) -> Mapping[str, str]:
        data = representative.digest if representative is not None else None
        return {scheme.name: key_of(scheme, model, data) for scheme in schemes}

    def _cached_or(
        self,
        keys: Mapping[str, str],
        schemes: Sequence[Scheme],
        make: Callable[[Sequence[Scheme]], Iterator[Outcome]],
    ) -> Iterator[tuple[str, Conversion]]:
        """Yield the files that are kept, then what `make` makes of the schemes that have none."""
        missing: list[Scheme] = []
        for scheme in schemes:
            kept = self._cache.get(keys[scheme.name])
            content = kept.read_bytes() if kept is not None else b""
            if kept is not None and _is_complete(content):
                yield scheme.name, _file(scheme.name, content, kept, cached=True)
            else:
                missing.append(scheme)
        if missing:
            for name, outcome in make(missing):
                yield name, self._keep(name, keys[name], outcome)

    def _as_handed_in(self, scheme: Scheme) -> CandidateFile:
        candidate = Candidate(
            scheme=scheme.name, digest=self._source.digest, size_bytes=self._source.path.stat().st_size
        )
        return CandidateFile(candidate=candidate, path=self._source.path, cached=True)

    def _keep(self, scheme: str, key: str, outcome: bytes | Failure) -> Conversion:
        if isinstance(outcome, Failure):
            return outcome
        if not _is_complete(outcome):
            return Failure(
                scheme=scheme,
                kind=FailureKind.CONVERSION,
                reason=f"{scheme_named(scheme).tool.value} made a file that is no .tflite",
            )
        return _file(scheme, outcome, self._cache.put(key, outcome), cached=False)

    def _told_apart(self, conversion: Conversion) -> Conversion:
        """Return a failure for a file that another scheme has made before, the conversion as it is otherwise."""
        if isinstance(conversion, Failure):
            return conversion
        scheme = conversion.candidate.scheme
        maker = self._makers.setdefault(conversion.candidate.digest, scheme)
        if maker == scheme:
            return conversion
        reason = f"the same file as {maker}: what sets the two apart is not in this network"
        return Failure(scheme=scheme, kind=FailureKind.NOT_OFFERED, reason=reason)

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


def _types(path: Path) -> frozenset[str]:
    return frozenset(read_graph(path.read_bytes()).types)


def _is_complete(content: bytes) -> bool:
    try:
        read_network(content)
    except FlatbufferError:
        return False
    return True


def _file(scheme: str, content: bytes, path: Path, *, cached: bool) -> CandidateFile:
    candidate = Candidate(scheme=scheme, digest=Digest.of(content), size_bytes=len(content))
    return CandidateFile(candidate=candidate, path=path, cached=cached)
