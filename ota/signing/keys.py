"""Private release keys: made as OpenSSH files, read back, or used through a running ssh-agent.

Invariants: a private key's file is mode 0600 from its first byte, durable, and never overwritten; no secret enters a message, a record's text or an
argument list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from paramiko import Agent, SSHException

from ota import durable
from ota.core.keyring import Keyring, ReleaseKey
from ota.errors import ContentError, Fault, MissingFileError, UsageError
from ota.signing import sshsig

AskPassphrase = Callable[[str], str]
"""ask(name of the key) -> its passphrase."""
_MOST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSigner:
    """A private key that was read from a file; its text holds the public half alone."""

    key: ReleaseKey
    private: Ed25519PrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the signature of `data`."""
        return self.private.sign(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSigner:
    """A key that the running ssh-agent holds."""

    key: ReleaseKey

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the signature of `data`; UsageError where the agent refuses or does not answer."""
        agent = Agent()
        try:
            held = next((one for one in agent.get_keys() if one.asbytes() == self.key.blob), None)
            # The agent answers string(type) string(64 bytes), RFC 8709.
            answer = b"" if held is None else held.sign_ssh_data(data)
        except (SSHException, OSError) as error:
            raise self._refused() from error
        finally:
            agent.close()
        head = self.key.blob[:15] + (64).to_bytes(4, "big")
        if not isinstance(answer, bytes) or not answer.startswith(head) or len(answer) != len(head) + 64:
            raise self._refused()
        return answer[len(head) :]

    def _refused(self) -> UsageError:
        return UsageError(f"the ssh-agent did not sign with the key {self.key.name}", hint="ssh-add -l")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was generated and is not written yet; its text holds the public half alone."""

    key: ReleaseKey
    private_text: bytes = field(repr=False)

    def write(self, folder: Path) -> None:
        """Write `name` (private, mode 0600) and `name.pub` into `folder`, durably; UsageError where either is there or cannot be written."""
        name = self.key.name
        refuse_existing(folder, name)
        path = folder / name
        try:
            # An existing folder is fine, a file in its place is not: FileExistsError here is not that of a key.
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            durable.write(path, self.private_text, mode=0o600, replace=False)
            public = f"{self.key.public} {name}\n".encode()
            durable.write(folder / f"{name}.pub", public, replace=False)
        except FileExistsError as error:
            raise _there(path) from error
        except OSError as error:
            raise _unwritable(path, error) from error


def generate(name: str, passphrase: str = "") -> NewKey:
    """Return a new key, encrypted where there is a passphrase; ValueError where `name` is none for a key."""
    private = Ed25519PrivateKey.generate()
    secret: KeySerializationEncryption = NoEncryption()
    if passphrase:
        secret = BestAvailableEncryption(passphrase.encode())
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, secret)
    return NewKey(key=_public(name, private), private_text=text)


def refuse_existing(folder: Path, name: str) -> None:
    """See that no key of that name is in `folder`; UsageError where one is."""
    for path in (folder / name, folder / f"{name}.pub"):
        if os.path.lexists(path):
            raise _there(path)


def read_public(path: Path) -> ReleaseKey:
    """Return the key of a public key file, named by the file without `.pub`.

    Raises:
        MissingFileError: it cannot be read.
        ContentError: it holds no Ed25519 key, or has a name that is none for a key.
    """
    content = _read(path)
    try:
        return ReleaseKey.of_line(path.name.removesuffix(".pub"), content.decode("ascii"))
    except ValueError as error:
        problem = "not ASCII text" if isinstance(error, UnicodeDecodeError) else str(error)
        hint = (
            "a private key is never added" if b"PRIVATE KEY" in content else "ssh-keygen -t ed25519 makes one"
        )
        raise ContentError(Fault(file=str(path), problem=problem, hint=hint)) from error


def signer(key: ReleaseKey, folder: Path, ask: AskPassphrase) -> sshsig.Signer:
    """Return what signs with `key`: its file in `folder`, else the running ssh-agent.

    Raises:
        MissingFileError: neither has it, or the file cannot be read.
        ContentError: the file holds no key, or another one.
        UsageError: others may read the file, or the passphrase is wrong.
    """
    path = folder / key.name
    if os.path.lexists(path):
        return FileSigner(key=key, private=_load(path, key, ask))
    if _agent_holds(key):
        return AgentSigner(key=key)
    raise MissingFileError(
        f"the private key {key.name} is not here",
        where=str(path),
        expected="its file, or an ssh-agent that holds it",
        hint="name its folder with --keys, or ssh-add it",
    )


def first_signer(keyring: Keyring, folder: Path, ask: AskPassphrase) -> sshsig.Signer:
    """Return the first key of `keyring` that is here; raises as `signer`."""
    for key in keyring.keys[:-1]:
        with suppress(MissingFileError):
            return signer(key, folder, ask)
    return signer(keyring.keys[-1], folder, ask)


def sign_here(
    keyring: Keyring,
    folder: Path,
    ask: AskPassphrase,
    namespace: str,
    content: bytes,
    have: Iterable[tuple[str, str]] = (),
) -> tuple[tuple[str, str], ...]:
    """Return signatures of `content` for `namespace`, (name, armored): the good ones of `have`, then by keys that are here, up to the keyring's threshold.

    Raises:
        ContentError, UsageError: as `signer`.
    """
    given = dict(have)
    good = signed_by(keyring, namespace, content, given.items())
    signatures = [(name, given[name]) for name in good][: keyring.threshold]
    for key in keyring.keys:
        if len(signatures) >= keyring.threshold:
            break
        if key.name not in good:
            with suppress(MissingFileError):
                signatures.append((key.name, sshsig.sign(signer(key, folder, ask), namespace, content)))
    return tuple(signatures)


def sign_all(
    keyring: Keyring, folder: Path, ask: AskPassphrase, namespace: str, content: bytes
) -> tuple[tuple[str, str], ...]:
    """Return the keyring's threshold of signatures of `content` for `namespace`, (name, armored), by the first keys that are here.

    Raises:
        MissingFileError: too few of the keys are here.
        ContentError, UsageError: as `signer`.
    """
    signatures = sign_here(keyring, folder, ask, namespace, content)
    if len(signatures) < keyring.threshold:
        raise too_few(keyring, folder, signatures, "name the keys' folder with --keys, or ssh-add them")
    return signatures


def too_few(
    keyring: Keyring, folder: Path, signatures: Iterable[tuple[str, str]], hint: str
) -> MissingFileError:
    """Return the error that says how many more have to sign, and whose keys are not here."""
    names = {name for name, _ in signatures}
    absent = ", ".join(key.name for key in keyring.keys if key.name not in names)
    return MissingFileError(
        "too few of the release keys are here to sign",
        where=str(folder),
        expected=f"{keyring.threshold} of {len(keyring.keys)}",
        found=f"{len(names)}, without {absent}",
        hint=hint,
    )


def signed_by(
    keyring: Keyring, namespace: str, content: bytes, signatures: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the names of `keyring` whose signatures of `content` for `namespace` are good, sorted."""
    by_name = dict(signatures)
    return tuple(
        sorted(
            key.name
            for key in keyring.keys
            if key.name in by_name and sshsig.verify(by_name[key.name], namespace, content, key)
        )
    )


def _public(name: str, private: Ed25519PrivateKey) -> ReleaseKey:
    return ReleaseKey.of_raw(name, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _load(path: Path, key: ReleaseKey, ask: AskPassphrase) -> Ed25519PrivateKey:
    content = _read(path)
    if path.stat().st_mode & 0o077:
        raise UsageError(
            "a private key that others may read is not used", where=str(path), hint=f"chmod 600 {path}"
        )
    try:
        loaded = _decrypted(content, path, key.name, ask)
    except (ValueError, UnsupportedAlgorithm) as error:
        # The library's own words are left out: they may quote the file.
        raise ContentError(
            Fault(
                file=str(path),
                problem="not a private key in OpenSSH's format",
                hint="restore it from your backup",
            )
        ) from error
    if not isinstance(loaded, Ed25519PrivateKey) or _public(key.name, loaded) != key:
        raise ContentError(
            Fault(
                file=str(path),
                problem=f"not the private half of the key {key.name} in the keyring, {key.fingerprint}",
                hint="name the keys' folder with --keys",
            )
        )
    return loaded


def _decrypted(content: bytes, path: Path, name: str, ask: AskPassphrase) -> object:
    try:
        return load_ssh_private_key(content, None)
    except TypeError:
        pass  # it is encrypted
    passphrase = ask(name).encode()
    try:
        return load_ssh_private_key(content, passphrase)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the passphrase of the key {name} is wrong", where=str(path)) from error


def whereabouts(key: ReleaseKey, folder: Path) -> str:
    """Return where the private half of `key` is: `file`, `agent`, or nothing where it is not here."""
    if os.path.lexists(folder / key.name):
        return "file"
    return "agent" if _agent_holds(key) else ""


def _agent_holds(key: ReleaseKey) -> bool:
    try:
        agent = Agent()
    except (SSHException, OSError):
        return False
    try:
        return any(one.asbytes() == key.blob for one in agent.get_keys())
    finally:
        agent.close()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise MissingFileError("a key cannot be read", where=str(path), found=error.strerror or "") from error


def _there(path: Path) -> UsageError:
    return UsageError(
        "a key is never overwritten", where=str(path), hint="choose another name for the new key"
    )


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError("a release key cannot be written", where=str(path), found=error.strerror or "")
