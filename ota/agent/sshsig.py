"""OpenSSH's signature form (SSHSIG), read and checked: exactly one text for each signature, Ed25519 and SHA-512 alone.

Source: PROTOCOL.sshsig of OpenSSH, RFC 8709 for keys and signatures. What is not in the canonical form is no signature, so that whoever verifies
gets the same answer from the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import NamedTuple, Optional, Tuple

MAGIC = b"SSHSIG"
KEY_TYPE = b"ssh-ed25519"
HASH = b"sha512"
MOST_CHARS = 2048

_BEGIN = "-----BEGIN SSH SIGNATURE-----\n"
_END = "-----END SSH SIGNATURE-----\n"
_LINE = 70


class Signature(NamedTuple):
    """What a signature says of itself: the key's 32 bytes, the namespace, the signature's 64 bytes."""

    public: bytes
    namespace: bytes
    signature: bytes


def read(armored: object) -> Optional[Signature]:
    """Return what an armored text holds, None where it is not exactly what `armor` gives for an Ed25519 signature over SHA-512."""
    if not isinstance(armored, str) or len(armored) > MOST_CHARS:
        return None
    if not armored.startswith(_BEGIN) or not armored.endswith(_END):
        return None
    try:
        blob = base64.b64decode(
            armored[len(_BEGIN) : -len(_END)].replace("\n", "").encode("ascii"), validate=True
        )
        found = _parsed(blob)
    except (ValueError, binascii.Error):
        return None
    return found if armor(found) == armored else None


def armor(signature: Signature) -> str:
    """Return the armored text, in lines of 70 as `ssh-keygen` writes it."""
    blob = MAGIC + (1).to_bytes(4, "big") + _text(KEY_TYPE, signature.public) + _string(signature.namespace)
    blob += _string(b"") + _string(HASH) + _text(KEY_TYPE, signature.signature)
    text = base64.b64encode(blob).decode("ascii")
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return _BEGIN + "\n".join(lines) + "\n" + _END


def signed_data(namespace: bytes, content: bytes) -> bytes:
    """Return the bytes that the key really signs."""
    hashed = hashlib.sha512(content).digest()
    return MAGIC + _string(namespace) + _string(b"") + _string(HASH) + _string(hashed)


def public_of(line: object) -> Optional[bytes]:
    """Return the 32 bytes of an OpenSSH line `ssh-ed25519 AAAA...`, None where it is not exactly one."""
    kind = KEY_TYPE.decode() + " "
    if not isinstance(line, str) or len(line) > 200 or not line.startswith(kind):
        return None
    try:
        blob = base64.b64decode(line[len(kind) :].encode("ascii"), validate=True)
        name, rest = _cut(blob)
        raw, rest = _cut(rest)
    except (ValueError, binascii.Error):
        return None
    sound = name == KEY_TYPE and len(raw) == 32 and not rest
    return raw if sound and public_line(raw) == line else None


def public_line(raw: bytes) -> str:
    """Return the OpenSSH line of a key's 32 bytes."""
    blob = base64.b64encode(_string(KEY_TYPE) + _string(raw)).decode("ascii")
    return "%s %s" % (KEY_TYPE.decode(), blob)


def _parsed(blob: bytes) -> Signature:
    """Return what a signature's bytes hold; ValueError where a part is cut short, left over or of another kind."""
    if not blob.startswith(MAGIC + (1).to_bytes(4, "big")):
        raise ValueError("no signature of version 1")
    key, rest = _cut(blob[len(MAGIC) + 4 :])
    namespace, rest = _cut(rest)
    reserved, rest = _cut(rest)
    algorithm, rest = _cut(rest)
    signature, rest = _cut(rest)
    if reserved or rest or algorithm != HASH:
        raise ValueError("another kind of signature")
    return Signature(_inner(key, 32), namespace, _inner(signature, 64))


def _inner(blob: bytes, size: int) -> bytes:
    kind, rest = _cut(blob)
    content, rest = _cut(rest)
    if kind != KEY_TYPE or len(content) != size or rest:
        raise ValueError("not Ed25519")
    return content


def _cut(blob: bytes) -> Tuple[bytes, bytes]:
    """Return the string that `blob` begins with (RFC 4251, section 5), and what follows."""
    end = 4 + int.from_bytes(blob[:4], "big")
    if len(blob) < max(4, end):
        raise ValueError("cut short")
    return blob[4:end], blob[end:]


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _text(kind: bytes, content: bytes) -> bytes:
    return _string(_string(kind) + _string(content))
