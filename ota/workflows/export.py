"""Lay a release out as a folder: the files that a device gets under the names that they have there, each as its manifest says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ota.core.release import Digest, Release
from ota.errors import ContentError, Fault, UsageError

MANIFEST = "manifest.json"


def lay_out(release: Release, blob: Callable[[Digest], Path], folder: Path) -> None:
    """Make `folder`, with the release's artifacts and its manifest in it.

    Raises:
        UsageError: the folder is there already, or cannot be written.
        ContentError: a file in the store is not what it was.
        MissingFileError: one is gone.
    """
    contents = {MANIFEST: release.manifest.to_json().encode()}
    for artifact in release.manifest.artifacts:
        path = blob(artifact.digest)
        content = path.read_bytes()
        if Digest.of(content) != artifact.digest:
            problem = f"not what {artifact.name} was when it was kept: its digest is another"
            raise ContentError(Fault(file=str(path), problem=problem, hint="ota select makes it anew"))
        if PurePosixPath(artifact.name).name != artifact.name:
            raise ValueError(f"not a name for an artifact: {artifact.name!r}")
        contents[artifact.name] = content
    try:
        folder.mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except FileExistsError as error:
        raise UsageError(
            "what is exported is never mixed with what is there",
            where=str(folder),
            hint="remove it, or name another --output",
        ) from error
    except OSError as error:
        raise UsageError(
            "the release cannot be written", where=str(folder), found=error.strerror or ""
        ) from error
