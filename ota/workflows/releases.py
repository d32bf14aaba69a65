"""What a release is made of, and which one each host shall run where that is a file; what its answers are compared with."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

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
from ota.core.setting import Setting
from ota.errors import ContentError, Fault, MissingFileError
from ota.store.known_answer import KnownAnswer
from ota.store.store import Store

if TYPE_CHECKING:
    from ota.core.selection import Selection

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
    release = release_of(play, candidate, None, artifacts_of(play, store), store)
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


def artifacts_of(play: Play, store: Store) -> tuple[Artifact, ...]:
    """Return what else a play's releases hold, kept in the store; MissingFileError where it cannot be read."""
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


def release_of(
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
