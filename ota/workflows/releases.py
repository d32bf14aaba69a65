"""Which release each host shall run: from the latest selection, a named one, or a file; and what its answers are compared with."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ota.analysis.agreement import Agreement
from ota.core.inventory import Host
from ota.core.measurement import Candidate
from ota.core.playbook import Play
from ota.core.release import (
    MODEL_ARTIFACT,
    OPEN_ARTIFACT,
    RUNTIME_ARTIFACT,
    Artifact,
    Digest,
    Manifest,
    Release,
)
from ota.core.selection import Selection
from ota.core.setting import Setting
from ota.core.verdict import Answer, Verdict
from ota.errors import (
    ContentError,
    Fault,
    MissingFileError,
    NoFeasibleCandidateError,
    UnreliableError,
    UsageError,
)
from ota.store.known_answer import KnownAnswer
from ota.store.store import Store

_TFLITE = b"TFL3"
_MOST_INPUTS = 1 << 28
Compare = Callable[[bytes, bytes, bool], Agreement]
SampleShape = Callable[[bytes], "tuple[int, ...]"]
"""Returns the shape of one sample of a .tflite file's input; ValueError says what is wrong with the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The release of each host by name, the probe samples to try it with, and the selection it came from."""

    releases: Mapping[str, Release]
    probe: Digest | None
    selection: str | None


def from_selection(
    play: Play, hosts: Sequence[Host], store: Store, *, selection_id: str | None, scheme: str | None
) -> Plan:
    """Return the plan of the newest selection of `play`, or of the one named; `scheme` overrules the winner.

    Raises:
        UsageError: there is no such selection, it is another play's, or a host is in no scope of it.
        NoFeasibleCandidateError: it has no winner.
        UnreliableError: its measurements cannot be trusted.
    """
    if selection_id is None:
        selection = store.latest_selection(play.name, play.model.name)
        if selection is None:
            raise UsageError(f"nothing was selected yet for the play '{play.name}'", hint="ota select")
    else:
        selection = store.selection(selection_id)
        if selection.model != play.model.name:
            raise UsageError(
                f"the selection {selection.id} is of the model '{selection.model}', the play's is '{play.model.name}'"
            )
    artifacts = _artifacts(play, store)
    releases: dict[str, Release] = {}
    for host in hosts:
        verdict = _scope(selection, host)
        candidate, setting = _chosen(selection, verdict, host, scheme)
        releases[host.name] = _release(play, candidate, setting, artifacts, store)
    return Plan(releases=releases, probe=selection.inputs.probe, selection=selection.id)


def from_file(play: Play, hosts: Sequence[Host], store: Store, path: Path, sample_shape: SampleShape) -> Plan:
    """Return the plan that gives every host the .tflite at `path`.

    It is tried with the probe samples of the play's newest selection where they fit its input, else with one sample of zeros.

    Raises:
        MissingFileError: it cannot be read.
        ContentError: it is no .tflite, or has no fixed input.
    """
    content = _read(path, "the model cannot be read")
    shape = _shape(content, path, sample_shape)
    candidate = Candidate(scheme="file", digest=store.put_blob(content), size_bytes=len(content))
    release = _release(play, candidate, None, _artifacts(play, store), store)
    latest = store.latest_selection(play.name, play.model.name)
    return Plan(
        releases={host.name: release for host in hosts},
        probe=_fitting(latest, shape, store) or store.put_blob(_zeros(shape)),
        selection=None,
    )


class Agreeing:
    """Compares a device's answers with those measured: there itself, else under the same runtime, else anywhere."""

    def __init__(self, store: Store, probe: Digest | None, compare: Compare) -> None:
        self._store = store
        self._probe = probe
        self._compare = compare

    def __call__(self, digest: Digest, host: str, runtime: str, outputs: bytes) -> str:
        """Return why the answers do not agree, empty where they do; where nothing was measured they must be finite."""
        known = [answer for answer in self._store.answers(digest) if answer.probe == self._probe]
        if not known:
            return _not_finite(outputs)

        def distance(answer: KnownAnswer) -> tuple[bool, bool]:
            return (answer.runtime != runtime, answer.host != host)

        nearest = min(known, key=distance)
        measured = self._store.blob(nearest.outputs).read_bytes()
        return self._compare(measured, outputs, nearest.runtime == runtime).reason


def _not_finite(outputs: bytes) -> str:
    values = struct.unpack(f"<{len(outputs) // 4}f", outputs[: len(outputs) // 4 * 4])
    return "" if values and all(map(math.isfinite, values)) else "the outputs hold NaN or infinite values"


def _shape(content: bytes, path: Path, sample_shape: SampleShape) -> tuple[int, ...]:
    if content[4:8] != _TFLITE:
        raise ContentError(
            Fault(file=str(path), problem=f"not a .tflite: expected TFL3 at byte 4, found {content[4:8]!r}")
        )
    try:
        shape = sample_shape(content)
    except ValueError as error:
        raise ContentError(Fault(file=str(path), problem=f"not a .tflite: {error}")) from error
    if min(shape, default=1) < 1 or math.prod(shape) > _MOST_INPUTS:
        problem = f"expected an input of a fixed size, found {list(shape)}"
        raise ContentError(
            Fault(file=str(path), problem=problem, hint="convert with a fixed batch size of 1")
        )
    return shape


def _fitting(selection: Selection | None, shape: tuple[int, ...], store: Store) -> Digest | None:
    """Return the probe samples of a selection where a network of that input can take them."""
    if selection is None:
        return None
    with store.blob(selection.inputs.probe).open("rb") as file:
        header = json.loads(file.readline())
    return selection.inputs.probe if tuple(header["shape"]) == shape else None


def _zeros(shape: tuple[int, ...]) -> bytes:
    """Return a dataset of one sample of zeros, in the form that travels."""
    payload = zlib.compress(bytes(math.prod(shape)))
    header = {
        "format": 1,
        "count": 1,
        "shape": list(shape),
        "dtype": "uint8",
        "scale": [1],
        "offset": [0],
        "filter": "none",
        "compression": "zlib",
        "payload_bytes": len(payload),
    }
    return json.dumps(header, separators=(",", ":")).encode() + b"\n" + payload


def _artifacts(play: Play, store: Store) -> tuple[Artifact, ...]:
    artifacts = []
    for name, path in play.model.artifacts:
        content = _read(Path(path), f"the artifact {name} cannot be read")
        artifacts.append(Artifact(name=name, digest=store.put_blob(content), size_bytes=len(content)))
    return tuple(artifacts)


def _read(path: Path, problem: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingFileError(problem, where=str(path), found=error.strerror or "") from error


def _release(
    play: Play, candidate: Candidate, setting: Setting | None, artifacts: tuple[Artifact, ...], store: Store
) -> Release:
    """Return a release of a candidate with what an application needs to run it as it was measured."""
    model = Artifact(name=MODEL_ARTIFACT, digest=candidate.digest, size_bytes=candidate.size_bytes)
    own = (
        _kept(RUNTIME_ARTIFACT, _runtime_text(setting), store),
        _kept(OPEN_ARTIFACT, resources.files("ota.agent").joinpath(OPEN_ARTIFACT).read_bytes(), store),
    )
    manifest = Manifest(model=play.model.name, artifacts=(model, *own, *artifacts), setting=setting)
    return Release(manifest=manifest)


def _kept(name: str, content: bytes, store: Store) -> Artifact:
    return Artifact(name=name, digest=store.put_blob(content), size_bytes=len(content))


def _runtime_text(setting: Setting | None) -> bytes:
    """Return runtime.json: package, version, module and threads; no package where nothing was measured, then any runtime will do."""
    package, _, version = setting.runtime.partition(" ") if setting else ("", "", "")
    content = {
        "format": 1,
        "package": package,
        "version": version,
        "module": f"{package.replace('-', '_')}.interpreter" if package else "",
        "threads": setting.threads if setting else 1,
    }
    return json.dumps(content, sort_keys=True).encode() + b"\n"


def _scope(selection: Selection, host: Host) -> Verdict:
    """Return the verdict for a host: by the groups that it is in now, else by the device class that it was in."""
    for verdict in selection.verdicts:
        if verdict.scope in {"all", *host.groups}:
            return verdict
    for verdict in selection.verdicts:
        if any(verdict.scope == group.name and host.name in group.hosts for group in verdict.classes):
            return verdict
    scopes = ", ".join(verdict.scope for verdict in selection.verdicts)
    raise UsageError(
        f"{host.name} is in none of the scopes that the selection {selection.id} has winners for: {scopes}"
    )


def _chosen(
    selection: Selection, verdict: Verdict, host: Host, scheme: str | None
) -> tuple[Candidate, Setting | None]:
    """Return what a host gets: the proposed candidate, or that of `scheme`, under the setting that its device class was measured with."""
    if scheme is None:
        if verdict.answer is Answer.UNRELIABLE:
            raise UnreliableError(
                f"the selection {selection.id} is unreliable: {verdict.cause.rstrip('.')}",
                hint="ota select measures again; --scheme NAME overrules it",
            )
        if verdict.winner is None:
            raise NoFeasibleCandidateError(
                f"the selection {selection.id} has no winner: {verdict.cause.rstrip('.')}",
                hint="ota select says why; --scheme NAME overrules it",
            )
        settings = dict(verdict.settings)
        return verdict.winner, settings.get(host.name) or _usual(settings.values())
    for row in verdict.rows:
        if row.scheme == scheme and row.candidate is not None:
            by_class = dict(row.settings)
            of_host = {name: by_class.get(group.name) for group in verdict.classes for name in group.hosts}
            return row.candidate, of_host.get(host.name) or _usual(of_host.values())
    made = ", ".join(row.scheme for row in verdict.rows if row.candidate is not None)
    raise UsageError(f"the selection {selection.id} has no candidate '{scheme}'", expected=f"one of {made}")


def _usual(settings: Iterable[Setting | None]) -> Setting | None:
    """Return the setting that most hosts have, for one that the selection never saw; None where nothing ran anywhere."""
    counted = Counter(setting for setting in settings if setting is not None)
    return max(sorted(counted), key=lambda setting: counted[setting], default=None)
