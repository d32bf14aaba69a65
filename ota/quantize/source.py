"""Recognise the model that a person hands in, by content and without TensorFlow, and say which schemes it offers."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ota.core.measurement import Failure, FailureKind
from ota.core.release import Digest
from ota.core.scheme import AS_IS, BASELINE, SCHEMES, Scheme, SourceKind
from ota.errors import ContentError, Fault, MissingFileError
from ota.quantize.flatbuffer import IDENTIFIER, FlatbufferError, Network, read_network

_EXPECTED = "expected a .keras or .h5 file, a SavedModel folder or a .tflite file"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The trained network as handed in; `network` is known at once for a .tflite only.

    `digest` is the file's SHA-256; for a folder, of every file's path, length and content in the order of the paths.
    """

    path: Path
    kind: SourceKind
    digest: Digest
    network: Network | None = None

    @property
    def quantized(self) -> str:
        """What is quantized already in a .tflite source, empty for a float network."""
        return self.network.quantized if self.network else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The schemes that can start from a source, and a failure with its reason for each that cannot."""

    schemes: tuple[Scheme, ...]
    failures: tuple[Failure, ...]


def recognise(path: Path) -> ModelSource:
    """Return what `path` is.

    Raises:
        MissingFileError: it does not exist or cannot be read.
        ContentError: it is no model; says what was expected and found.
    """
    try:
        if path.is_dir():
            return _folder(path)
        with path.open("rb") as file:
            head = file.read(8)
        if head[4:8] == IDENTIFIER:
            return _tflite(path)
        if head == _HDF5 or (head.startswith(_ZIP) and _is_keras_zip(path)):
            return ModelSource(path=path, kind=SourceKind.KERAS, digest=_digest_of_file(path))
    except OSError as error:
        raise MissingFileError(
            "the model cannot be read", where=str(path), found=error.strerror or str(error)
        ) from error
    raise _not_a_model(path, _what_else(head))


def offered(source: ModelSource, wanted: tuple[str, ...] = (), *, representative: bool = True) -> Offer:
    """Return which schemes of `wanted` (empty: all) can start from `source`; the baseline is always asked for.

    `representative` says whether there is a representative dataset.
    """
    schemes: list[Scheme] = []
    failures: list[Failure] = []
    for scheme in SCHEMES:
        if wanted and scheme.name not in {*wanted, BASELINE}:
            continue
        reason = _why_not(scheme, source, representative=representative)
        if reason:
            failures.append(Failure(scheme=scheme.name, kind=FailureKind.NOT_OFFERED, reason=reason))
        else:
            schemes.append(scheme)
    return Offer(schemes=(AS_IS,) if source.quantized else tuple(schemes), failures=tuple(failures))


def _why_not(scheme: Scheme, source: ModelSource, *, representative: bool) -> str:
    if source.quantized:
        return f"{source.path.name} is quantized already ({source.quantized}): hand in the float network, or deploy the file with --model"
    if source.kind not in scheme.starts_from:
        return "starts from a .keras or .h5 file or a SavedModel, not from a .tflite"
    if scheme.representative and not representative:
        return "needs a representative dataset, and the play names none"
    return ""


def _folder(path: Path) -> ModelSource:
    if not (path / "saved_model.pb").is_file():
        raise _not_a_model(path, "a folder without saved_model.pb")
    return ModelSource(path=path, kind=SourceKind.SAVED_MODEL, digest=_digest_of_folder(path))


def _tflite(path: Path) -> ModelSource:
    content = path.read_bytes()
    try:
        network = read_network(content)
    except FlatbufferError as error:
        raise _not_a_model(path, f"a damaged .tflite: {error}") from error
    return ModelSource(path=path, kind=SourceKind.TFLITE, digest=Digest.of(content), network=network)


def _is_keras_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _what_else(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head.startswith(_ZIP):
        return "a zip archive without config.json, or a damaged one"
    return f"a file that begins with {head!r}"


def _not_a_model(path: Path, found: str) -> ContentError:
    return ContentError(Fault(file=str(path), problem=f"not a model: {_EXPECTED}, found {found}"))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _digest_of_file(path: Path) -> Digest:
    hashed = sha256()
    for chunk in _chunks(path):
        hashed.update(chunk)
    return Digest(hashed.hexdigest())


def _digest_of_folder(path: Path) -> Digest:
    hashed = sha256()
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    for name, file in files:
        hashed.update(f"{name}\0{file.stat().st_size}\0".encode())
        for chunk in _chunks(file):
            hashed.update(chunk)
    return Digest(hashed.hexdigest())
