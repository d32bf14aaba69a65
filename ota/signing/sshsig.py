"""OpenSSH's signature form (SSHSIG): made and verified with Ed25519 and SHA-512, as `ssh-keygen -Y sign` and `-Y verify` do.

Source: PROTOCOL.sshsig of OpenSSH; RFC 8709 for keys and signatures. Invariant: what is read is exactly what `armor` writes, nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ota.core.keyring import KEY_TYPE, ReleaseKey

MOST_CHARS = 2048
"""No armored Ed25519 signature of ours is longer."""

_MAGIC = b"SSHSIG"
_VERSION = (1).to_bytes(4, "big")
_HASH = b"sha512"
_BEGIN = "-----BEGIN SSH SIGNATURE-----\n"
_END = "-----END SSH SIGNATURE-----\n"
_LINE = 70


class Signer(Protocol):
    """Whatever signs with a release key: a file's key, or an ssh-agent that holds it."""

    @property
    def key(self) -> ReleaseKey:
        """The public half."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature of `data`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a signature says of itself: the key (32 bytes), what it is for, and the signature (64 bytes)."""

    public: bytes
    namespace: str
    signature: bytes

    @classmethod
    def read(cls, armored: str) -> Signature:
        """Return what an armored text holds; ValueError where it is not exactly one that `armor` writes."""
        if len(armored) > MOST_CHARS or not armored.startswith(_BEGIN) or not armored.endswith(_END):
            raise ValueError("not an armored SSH signature")
        blob = base64.b64decode(armored[len(_BEGIN) : -len(_END)].replace("\n", ""), validate=True)
        found = cls._of_blob(blob)
        if found.armor() != armored:
            raise ValueError("an SSH signature that is not in its canonical form")
        return found

    def armor(self) -> str:
        """Return the armored text, in lines of 70."""
        kind = _string(KEY_TYPE.encode())
        parts = (
            kind + _string(self.public),
            self.namespace.encode(),
            b"",
            _HASH,
            kind + _string(self.signature),
        )
        text = base64.b64encode(_MAGIC + _VERSION + b"".join(map(_string, parts))).decode()
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return _BEGIN + "\n".join(lines) + "\n" + _END

    @classmethod
    def _of_blob(cls, blob: bytes) -> Signature:
        head = _MAGIC + _VERSION
        parts, rest = _strings(blob[len(head) :], 5)
        key, namespace, reserved, algorithm, signature = parts
        if not blob.startswith(head) or rest or reserved or algorithm != _HASH:
            raise ValueError("another kind of SSH signature: expected version 1 over sha512")
        return cls(public=_inner(key, 32), namespace=namespace.decode(), signature=_inner(signature, 64))


def sign(signer: Signer, namespace: str, content: bytes) -> str:
    """Return the armored signature of `content` for `namespace`; raises what the signer raises."""
    raw = signer.sign(_signed_data(namespace, content))
    return Signature(public=signer.key.raw, namespace=namespace, signature=raw).armor()


def verify(armored: str, namespace: str, content: bytes, key: ReleaseKey) -> bool:
    """Say whether a text is the signature of `content` for `namespace` by `key`; what is malformed is not."""
    try:
        found = Signature.read(armored)
        if found.namespace != namespace or found.public != key.raw:
            return False
        Ed25519PublicKey.from_public_bytes(key.raw).verify(found.signature, _signed_data(namespace, content))
    except (ValueError, InvalidSignature):
        return False
    return True


def _signed_data(namespace: str, content: bytes) -> bytes:
    parts = (namespace.encode(), b"", _HASH, hashlib.sha512(content).digest())
    return _MAGIC + b"".join(map(_string, parts))


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _strings(blob: bytes, count: int) -> tuple[list[bytes], bytes]:
    """Return the `count` strings that `blob` begins with (RFC 4251, section 5), and what follows."""
    found: list[bytes] = []
    for _ in range(count):
        end = 4 + int.from_bytes(blob[:4], "big")
        if len(blob) < max(4, end):
            raise ValueError("an SSH signature that is cut short")
        found.append(blob[4:end])
        blob = blob[end:]
    return found, blob


def _inner(blob: bytes, size: int) -> bytes:
    (kind, content), rest = _strings(blob, 2)
    if kind != KEY_TYPE.encode() or len(content) != size or rest:
        raise ValueError(f"another kind of SSH signature: expected {KEY_TYPE}")
    return content
