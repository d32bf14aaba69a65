"""Whom this device trusts: signatures verified against a keyring, and the keyring in force, which only its own keys may change.

Invariants: a signature counts only for its namespace, under the name (principal) and the key that the keyring binds; a key counts once; what cannot
be read is an error and never "no keyring"; `ssh-keygen` and the device's own verification give the same answer, for both get the canonical form only.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from . import files
from .dialogue import RefusedError

if TYPE_CHECKING:
    # What verifies is imported where it is used: most devices have no keyring, and each module costs the start of a dialogue.
    from . import sshsig

RELEASE_NAMESPACE = "ota-release"
KEYRING_NAMESPACE = "ota-keyring"
ORDER_NAMESPACE = "ota-order"

MOST_CONTENT = 1024 * 1024
MOST_SIGNATURES = 64
MOST_KEYS = 32
MOST_KEYRING_CHARS = 16 * 1024
MOST_VERSION = 2**31 - 1
TIMEOUT_S = 10.0

Keyring = Dict[str, Any]

_NAMESPACE = re.compile(r"[a-z0-9-]{1,32}\Z")
_NAME = re.compile(r"(?!.*\.pub\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_USUAL_PATH = "/usr/bin:/bin:/usr/local/bin"
# Known answers, made once with a key that nobody kept: a program that does not give both is not used.
_PROBE_NAMESPACE = "ota-probe"
_PROBE_CONTENT = b"probe"
_PROBE_KEY = "7682ac3e4e444fbf93cdacd214947d63e120a02f4791048d6b2f8220fbca348e"
_PROBE_SIGNATURE = (
    "7782e6fa746f1a78924a83bd3c451839bdbc9aabaae8ba6fc281e337d16bec31"
    "3a0e16ac88928293ca5b3b0286e3e78e5d067d35a20fc30cb4dabf0a543f9a04"
)


class Verifier:
    """Verifies single signatures: by `ssh-keygen` where a usable one is found, else here; looked for once."""

    def __init__(self, program: Optional[str]) -> None:
        self._program = program if program and self._proven(program) else None

    @classmethod
    def of_device(cls) -> "Verifier":
        """Return the one of this device."""
        import shutil

        path = os.environ.get("PATH", "") + os.pathsep + _USUAL_PATH
        return cls(shutil.which("ssh-keygen", path=path))

    @property
    def program(self) -> Optional[str]:
        """The `ssh-keygen` in use, None where there is no usable one."""
        return self._program

    def good(self, name: str, found: sshsig.Signature, namespace: str, content: bytes) -> bool:
        """Say whether a signature in canonical form is that of `content` for `namespace`; both ways get the same checks of form."""
        from . import ed25519, sshsig

        if found.namespace != namespace.encode("ascii"):
            return False
        if ed25519.sound_key(found.public) is None or not ed25519.sound_signature(found.signature):
            return False
        if self._program is not None:
            answer = _asked(self._program, name, found, namespace, content)
            if answer is not None:
                return answer
        return ed25519.verify(found.public, sshsig.signed_data(found.namespace, content), found.signature)

    @staticmethod
    def _proven(program: str) -> bool:
        """Say whether a program knows this form: older ones, and stand-ins, fail one of two known answers."""
        from . import sshsig

        probe = sshsig.Signature(
            bytes.fromhex(_PROBE_KEY), _PROBE_NAMESPACE.encode(), bytes.fromhex(_PROBE_SIGNATURE)
        )
        right, wrong = (
            _asked(program, "probe", probe, _PROBE_NAMESPACE, content)
            for content in (_PROBE_CONTENT, _PROBE_CONTENT + b"!")
        )
        return right is True and wrong is False


_of_device: List[Verifier] = []


def verify(
    namespace: str,
    content: bytes,
    signatures: Any,
    keyring: Keyring,
    verifier: Optional[Verifier] = None,
) -> List[str]:
    """Return the names whose signatures of `content` for `namespace` are good, sorted; a key under two names counts once.

    `signatures` are armored texts by name. RefusedError `oversized` or `bad_keyring` where nothing can be verified at all.
    """
    from . import sshsig

    if not _NAMESPACE.match(namespace):
        raise ValueError("not a namespace: %r" % namespace)
    if len(content) > MOST_CONTENT:
        raise RefusedError(
            "oversized", "what was signed has %d bytes, more than %d" % (len(content), MOST_CONTENT)
        )
    if not isinstance(signatures, dict) or len(signatures) > MOST_SIGNATURES:
        raise RefusedError(
            "oversized", "there are more than %d signatures, or none by name" % MOST_SIGNATURES
        )
    keys = _keys(keyring)
    if verifier is None:
        if not _of_device:
            _of_device.append(Verifier.of_device())
        verifier = _of_device[0]
    names: List[str] = []
    counted = set()
    for name in sorted(set(signatures) & set(keys)):
        found = sshsig.read(signatures[name])
        if found is None or found.public != keys[name] or found.public in counted:
            continue
        if verifier.good(name, found, namespace, content):
            counted.add(found.public)
            names.append(name)
    return names


def require(
    namespace: str,
    content: bytes,
    signatures: Any,
    keyring: Keyring,
    threshold: Optional[int] = None,
    verifier: Optional[Verifier] = None,
) -> List[str]:
    """Return the names that signed, at least `threshold` of them (unless said the keyring's own).

    Raises:
        RefusedError: `unsigned`: there is no signature; `bad_signature`: one under a name of the keyring is wrong, or none is by a key of it;
            `threshold`: too few signed; and what `verify` raises.
    """
    needed = keyring.get("threshold") if threshold is None else threshold
    if type(needed) is not int or needed < 1:
        raise RefusedError("bad_keyring", "not a threshold: %r" % (needed,))
    if not signatures:
        raise RefusedError("unsigned", "this device takes only what is signed for %s" % namespace)
    names = verify(namespace, content, signatures, keyring, verifier)
    if len(names) >= needed:
        return names
    wrong = sorted(set(signatures) & set(_keys(keyring)) - set(names))
    if wrong:
        raise RefusedError(
            "bad_signature", "the signature of %s is not good for %s" % (", ".join(wrong), namespace)
        )
    if not names:
        raise RefusedError("bad_signature", "no signature is by a key that this device trusts")
    raise RefusedError(
        "threshold", "%d of %d signatures that are needed: %s" % (len(names), needed, ", ".join(names))
    )


def authorise(root: str, manifest: str, signatures: Any) -> None:
    """See that a release may run here: where there is a keyring, its threshold signed the manifest; RefusedError as `require` raises."""
    keyring = load(root)
    if keyring is not None:
        require(RELEASE_NAMESPACE, manifest.encode("utf-8"), signatures, keyring)


def version(root: str) -> int:
    """Return the version of the keyring in force, 0 where there is none; RefusedError `bad_keyring` where it cannot be read."""
    keyring = load(root)
    return 0 if keyring is None else int(keyring["version"])


def load(root: str) -> Optional[Keyring]:
    """Return the keyring in force, None where there is none; RefusedError `bad_keyring` where there is one that cannot be read."""
    try:
        with open(_path(root), encoding="utf-8", newline="") as file:
            text = file.read(MOST_KEYRING_CHARS + 1)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError("bad_keyring", "the device's keyring cannot be read: %s" % error) from error
    return parse(text)


def adopt(root: str, keyring_text: str, signatures: Any, verifier: Optional[Verifier] = None) -> bool:
    """Put a keyring in force, durably; return whether it was not already. The first comes as it is, each later one signed by the one before.

    Raises:
        RefusedError: `bad_keyring`, `keyring_version` where it does not follow the one in force, and what `require` raises.
    """
    new, old = parse(keyring_text), load(root)
    if old == new:
        return False
    if old is not None:
        if new["version"] != old["version"] + 1:
            raise RefusedError(
                "keyring_version",
                "keyring %d does not follow keyring %d, which is in force" % (new["version"], old["version"]),
            )
        require(KEYRING_NAMESPACE, keyring_text.encode("utf-8"), signatures, old, verifier=verifier)
    files.make_folder(os.path.dirname(_path(root)))
    files.write_file(_path(root), keyring_text.encode("utf-8"))
    return True


def parse(text: object) -> Keyring:
    """Return the keyring that a canonical text says; RefusedError `bad_keyring` where it is too long, not canonical or not sound."""
    if not isinstance(text, str) or len(text) > MOST_KEYRING_CHARS:
        raise RefusedError("bad_keyring", "a keyring has at most %d characters" % MOST_KEYRING_CHARS)
    try:
        keyring = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError("bad_keyring", "the keyring is not JSON") from error
    keys = _keys(keyring)
    count, version, threshold = len(keys), keyring.get("version"), keyring.get("threshold")
    sound = (
        set(keyring) == {"format", "version", "threshold", "keys"}
        and keyring["format"] == 1
        and _within(version, MOST_VERSION)
        and _within(threshold, count)
        and count == len(keyring["keys"]) == len(set(keys.values()))
    )
    if not sound or json.dumps(keyring, sort_keys=True, separators=(",", ":")) != text:
        raise RefusedError("bad_keyring", "the keyring is not sound, or not in its canonical form")
    return dict(keyring)


def _keys(keyring: Any) -> Dict[str, bytes]:
    """Return the keys of a keyring by name; RefusedError where it does not have its shape."""
    entries = keyring.get("keys") if isinstance(keyring, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise RefusedError("bad_keyring", "the keyring does not have its shape")
    return dict(_key(entry) for entry in entries)


def _key(entry: Any) -> Tuple[str, bytes]:
    from . import sshsig

    sound = isinstance(entry, dict) and set(entry) == {"name", "public"} and isinstance(entry["name"], str)
    raw = sshsig.public_of(entry["public"]) if sound else None
    if raw is None or not _NAME.match(entry["name"]):
        raise RefusedError("bad_keyring", "the keyring holds what is no key")
    return entry["name"], raw


def _within(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _path(root: str) -> str:
    return os.path.join(root, "trust", "keyring.json")


def _asked(
    program: str, name: str, found: sshsig.Signature, namespace: str, content: bytes
) -> Optional[bool]:
    """Return what `ssh-keygen` says of a signature, None where it could not be asked: no room for its files, no answer in time, killed."""
    import subprocess
    import tempfile

    from . import sshsig

    allowed = '%s namespaces="%s" %s\n' % (name, namespace, sshsig.public_line(found.public))
    try:
        with tempfile.TemporaryDirectory(prefix="ota-trust-") as folder:
            signers, signature = os.path.join(folder, "allowed_signers"), os.path.join(folder, "signature")
            for path, text in ((signers, allowed), (signature, sshsig.armor(found))):
                with open(path, "w", encoding="ascii") as file:
                    file.write(text)
            done = subprocess.run(
                [program, "-Y", "verify", "-f", signers, "-I", name, "-n", namespace, "-s", signature],
                input=content,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                check=False,
                env={"PATH": _USUAL_PATH, "LC_ALL": "C"},
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.returncode == 0 if done.returncode >= 0 else None
