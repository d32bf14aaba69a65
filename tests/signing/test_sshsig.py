"""SSHSIG: what we sign the real ssh-keygen verifies, what it signs we verify, and nothing else passes."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from ota.core.keyring import RELEASE_NAMESPACE, Keyring
from ota.signing import sshsig
from tests.signing.programs import ssh_keygen
from tests.signing.rings import a_ring, signature

CONTENT = b'{"model":"m"}' * 30


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    """A keyring of ann and bob, whose private keys are in the test's folder."""
    return a_ring(tmp_path, "ann", "bob")


def keygen(*args: str, content: bytes = CONTENT) -> int:
    """Run ssh-keygen -Y with `content` on stdin and return its exit code."""
    return subprocess.run(
        [ssh_keygen(), "-Y", *args], input=content, capture_output=True, check=False
    ).returncode


def test_ssh_keygen_verifies_what_we_sign(tmp_path: Path, ring: Keyring) -> None:
    """-Y verify and -Y check-novalidate take our signature, and refuse another namespace, principal or content."""
    (tmp_path / "sig").write_text(signature(tmp_path, ring, "ann", RELEASE_NAMESPACE, CONTENT))
    (tmp_path / "allowed").write_text(f'ann namespaces="{RELEASE_NAMESPACE}" {ring.key("ann").public}\n')
    common = ["-n", RELEASE_NAMESPACE, "-s", str(tmp_path / "sig")]
    allowed = ["-f", str(tmp_path / "allowed"), *common]
    assert keygen("check-novalidate", *common) == 0
    assert keygen("verify", "-I", "ann", *allowed) == 0
    assert keygen("verify", "-I", "bob", *allowed) != 0
    assert keygen("verify", "-I", "ann", *allowed, content=CONTENT + b" ") != 0
    assert keygen("check-novalidate", "-n", "other", "-s", str(tmp_path / "sig")) != 0


def test_we_verify_what_ssh_keygen_signs(tmp_path: Path, ring: Keyring) -> None:
    """A signature by ssh-keygen with our key file is ours to the last byte, for Ed25519 has one signature per message."""
    (tmp_path / "content").write_bytes(CONTENT)
    signed = ["sign", "-f", str(tmp_path / "ann"), "-n", RELEASE_NAMESPACE, str(tmp_path / "content")]
    assert keygen(*signed) == 0
    armored = (tmp_path / "content.sig").read_text()
    assert sshsig.verify(armored, RELEASE_NAMESPACE, CONTENT, ring.key("ann"))
    assert armored == signature(tmp_path, ring, "ann", RELEASE_NAMESPACE, CONTENT)


def test_an_empty_content_is_signed_too(tmp_path: Path, ring: Keyring) -> None:
    """No content is a content of its own."""
    armored = signature(tmp_path, ring, "ann", RELEASE_NAMESPACE, b"")
    assert sshsig.verify(armored, RELEASE_NAMESPACE, b"", ring.key("ann"))
    assert not sshsig.verify(armored, RELEASE_NAMESPACE, b" ", ring.key("ann"))


def test_only_the_signature_itself_verifies(tmp_path: Path, ring: Keyring) -> None:
    """Another key, namespace, content or form does not verify."""
    armored = signature(tmp_path, ring, "ann", RELEASE_NAMESPACE, CONTENT)
    ann = ring.key("ann")
    assert sshsig.verify(armored, RELEASE_NAMESPACE, CONTENT, ann)
    wrong = {
        "another key": (armored, RELEASE_NAMESPACE, CONTENT, ring.key("bob")),
        "another namespace": (armored, "ota-order", CONTENT, ann),
        "another content": (armored, RELEASE_NAMESPACE, CONTENT[:-1], ann),
        "cut": (armored[:-30], RELEASE_NAMESPACE, CONTENT, ann),
        "empty": ("", RELEASE_NAMESPACE, CONTENT, ann),
        "too long": (armored + " " * 4000, RELEASE_NAMESPACE, CONTENT, ann),
        "CRLF": (armored.replace("\n", "\r\n"), RELEASE_NAMESPACE, CONTENT, ann),
        "no line break at the end": (armored[:-1], RELEASE_NAMESPACE, CONTENT, ann),
    }
    assert [name for name, args in wrong.items() if sshsig.verify(*args)] == []


def test_another_hash_is_refused(tmp_path: Path, ring: Keyring) -> None:
    """A signature over SHA-256, which ssh-keygen can make as well, is another kind."""
    (tmp_path / "content").write_bytes(CONTENT)
    signed = ["sign", "-O", "hashalg=sha256", "-f", str(tmp_path / "ann"), "-n", RELEASE_NAMESPACE]
    if keygen(*signed, str(tmp_path / "content")) != 0:
        pytest.skip("this ssh-keygen cannot choose the hash")
    with pytest.raises(ValueError, match="another kind of SSH signature"):
        sshsig.Signature.read((tmp_path / "content.sig").read_text())


def test_a_cut_at_every_byte_is_refused(tmp_path: Path, ring: Keyring) -> None:
    """No beginning of a signature's bytes is a signature."""
    armored = signature(tmp_path, ring, "ann", RELEASE_NAMESPACE, CONTENT)
    blob = base64.b64decode("".join(armored.splitlines()[1:-1]))
    for end in range(len(blob)):
        text = base64.b64encode(blob[:end]).decode()
        cut = f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n"
        assert not sshsig.verify(cut, RELEASE_NAMESPACE, CONTENT, ring.key("ann"))
