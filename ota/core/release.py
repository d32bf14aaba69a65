"""What is shipped: digests, artifacts, the manifest that lists them and the release whose id is its content."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from ota.core.setting import Setting

_HEX = re.compile(r"[0-9a-f]{64}")

MODEL_ARTIFACT = "model.tflite"
"""The name under which every release holds its model; applications open `current/model.tflite`."""
RUNTIME_ARTIFACT = "runtime.json"
"""The artifact that tells an application under which runtime and with how many threads the model was measured."""
OPEN_ARTIFACT = "open_model.py"
"""The artifact that opens the model so, for applications in Python."""
RELEASE_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 in lower-case hex; 64 digits or ValueError."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"not a sha256 in hex: {self.hex[:80]!r}")

    @classmethod
    def of(cls, content: bytes | bytearray | memoryview) -> Digest:
        """Return the digest of `content`."""
        return cls(sha256(content).hexdigest())

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file that is shipped: the name it gets in the release folder, its digest and its size in bytes."""

    name: str
    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The list of a release's artifacts; `model` names the model that the device runs, `setting` says how it was measured, where it was.

    Where releases are signed, a device takes none of a lower `counter` than it has confirmed, and only one whose `compatible` names its architecture, as
    `uname -m` prints it, or nothing, and whose `boards` names its model, as its facts have it, or nothing. `selection` is where the release came from. All
    four are empty where releases go unsigned.
    """

    model: str
    artifacts: tuple[Artifact, ...]
    setting: Setting | None = None
    counter: int = 0
    compatible: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    selection: str = ""

    def to_json(self) -> str:
        """Return the canonical text: keys sorted, artifacts by name, no spaces; equal manifests have equal text."""
        content: dict[str, object] = {
            "format": 1,
            "model": self.model,
            "artifacts": [
                {"name": a.name, "sha256": a.digest.hex, "size_bytes": a.size_bytes}
                for a in sorted(self.artifacts, key=lambda a: a.name)
            ],
        }
        if self.setting is not None:
            content["setting"] = {"runtime": self.setting.runtime, "threads": self.setting.threads}
        if self.counter:
            content["counter"] = self.counter
        if self.compatible:
            content["compatible"] = sorted(self.compatible)
        if self.boards:
            content["boards"] = sorted(self.boards)
        if self.selection:
            content["selection"] = self.selection
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An immutable set of artifacts for deployment."""

    manifest: Manifest

    @property
    def id(self) -> str:
        """The first 16 hex digits of the manifest's digest: equal content has an equal id on every machine."""
        return _id_of(self.manifest)

    @property
    def model(self) -> Artifact:
        """The artifact that the application loads."""
        return next(a for a in self.manifest.artifacts if a.name == MODEL_ARTIFACT)


@lru_cache(maxsize=256)
def _id_of(manifest: Manifest) -> str:
    # Each host's job asks several times, and most hosts of a fleet get one release.
    return Digest.of(manifest.to_json().encode()).hex[:RELEASE_ID_DIGITS]
