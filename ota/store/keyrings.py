"""The project's keyrings: each version in a file of its own with its signatures beside it, never changed, never lost.

Every earlier keyring is kept, so that a device that lags behind is led to the newest step by step. Invariant: where a keyring's file is, its
signatures are; versions count from 1 without a gap.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ota import durable
from ota.core.keyring import MOST_KEYRING_CHARS, MOST_KEYS, Keyring, SignedKeyring
from ota.errors import ContentError, Fault, UsageError

_MOST_SIGNATURES_CHARS = 4096 * MOST_KEYS


class Keyrings:
    """The folder of keyrings; two processes may use it at once, and of two that put the same version one is refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self) -> SignedKeyring | None:
        """Return the newest keyring, None where there is none; ContentError where it cannot be read."""
        versions = self._versions()
        return self._read(versions[-1]) if versions else None

    def after(self, version: int) -> tuple[SignedKeyring, ...]:
        """Return every keyring that follows `version`, in the order in which a device takes them; 0: all. ContentError where one cannot be read."""
        return tuple(self._read(number) for number in self._versions() if number > version)

    def prepare(self) -> None:
        """Make the folder, so that what leads to `put` is not done in vain; UsageError where it cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def put(self, signed: SignedKeyring) -> None:
        """Keep the next keyring, durably.

        Raises:
            UsageError: its version is not the next, is there already, or the folder cannot be written.
            ContentError: the keyrings here cannot be read.
        """
        version, versions = signed.keyring.version, self._versions()
        if version != len(versions) + 1:
            raise UsageError(
                "a keyring does not follow the newest one",
                where=str(self._folder),
                expected=f"version {len(versions) + 1}",
                found=f"version {version}",
                hint="ota key show",
            )
        self.prepare()
        try:
            text = json.dumps(dict(signed.signatures), sort_keys=True, indent=1)
            durable.write(self._signatures(version), text.encode(), replace=True)
            durable.write(self._path(version), signed.keyring.to_json().encode(), replace=False)
        except FileExistsError as error:
            raise UsageError(
                f"another ota made keyring {version} meanwhile",
                where=str(self._path(version)),
                hint="ota key show",
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _versions(self) -> list[int]:
        stems = [path.stem for path in self._folder.glob("*.json") if not path.stem.endswith(".signatures")]
        strange = [stem for stem in stems if not stem.isdecimal() or stem != str(int(stem))]
        versions = sorted(int(stem) for stem in stems if stem not in strange)
        if strange or versions != list(range(1, len(versions) + 1)):
            found = ", ".join([*map(str, versions), *sorted(strange)])
            raise self._damaged(
                self._folder, f"expected keyrings 1 to {max(versions, default=0)}, found {found}"
            )
        return versions

    def _read(self, version: int) -> SignedKeyring:
        path = self._path(version)
        try:
            keyring = _keyring(_text(path, MOST_KEYRING_CHARS), version)
            path = self._signatures(version)
            signatures = _signatures(_text(path, _MOST_SIGNATURES_CHARS))
        except (OSError, ValueError, RecursionError) as error:
            problem = (error.strerror or "") if isinstance(error, OSError) else str(error)
            raise self._damaged(path, problem) from error
        return SignedKeyring(keyring=keyring, signatures=signatures)

    def _path(self, version: int) -> Path:
        return self._folder / f"{version}.json"

    def _signatures(self, version: int) -> Path:
        return self._folder / f"{version}.signatures.json"

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError("a keyring cannot be written", where=str(self._folder), found=error.strerror or "")

    @staticmethod
    def _damaged(place: Path, problem: str) -> ContentError:
        return ContentError(
            Fault(
                file=str(place),
                problem=f"the keyrings are damaged: {problem}",
                hint="restore the folder from a copy; its devices trust the keyrings that were in it",
            )
        )


def _text(path: Path, most: int) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read(most + 1)


def _keyring(text: str, version: int) -> Keyring:
    keyring = Keyring.from_json(text)
    if keyring.version != version:
        raise ValueError(f"it says that it is keyring {keyring.version}")
    return keyring


def _signatures(text: str) -> tuple[tuple[str, str], ...]:
    plain = json.loads(text)
    if not isinstance(plain, dict) or not all(isinstance(value, str) for value in plain.values()):
        raise ValueError("expected signatures by name")
    return tuple(sorted(plain.items()))
