"""OpenSSF's model signing by the real library: what was signed is verified, anything else is not, and keys of another kind are told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP256R1,
    SECP521R1,
    EllipticCurve,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from ota.errors import ContentError, MissingFileError
from ota.signing.openssf import public_half, sign_folder, verify_folder


def an_ec_key(
    path: Path, curve: EllipticCurve | None = None, encryption: KeySerializationEncryption | None = None
) -> Path:
    """Write a private key, on P-256 unless said, and return its file."""
    key = generate_private_key(curve or SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return path


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """Return a folder with `release`, signed, its bundle `release.sig` and the public half `release.pub`."""
    pytest.importorskip("model_signing", reason="model-signing is not installed here")
    key = an_ec_key(tmp_path / "key.pem")
    (tmp_path / "release").mkdir()
    for name, content in (("model.tflite", b"TFL3 a model"), ("manifest.json", b"{}")):
        (tmp_path / "release" / name).write_bytes(content)
    (tmp_path / "release.pub").write_bytes(public_half(key))
    sign_folder(tmp_path / "release", tmp_path / "release.sig", key)
    return tmp_path


def verify(folder: Path) -> None:
    """Verify what `signed` returned."""
    verify_folder(folder / "release", folder / "release.sig", folder / "release.pub")


def test_what_was_signed_is_verified(signed: Path) -> None:
    """Elsewhere too, for only content and names count."""
    verify(signed)
    shutil.copytree(signed / "release", signed / "elsewhere" / "release")
    verify_folder(signed / "elsewhere" / "release", signed / "release.sig", signed / "release.pub")


def _changed(folder: Path) -> None:
    (folder / "release" / "model.tflite").write_bytes(b"TFL3 another")


def _removed(folder: Path) -> None:
    (folder / "release" / "manifest.json").unlink()


def _added(folder: Path) -> None:
    (folder / "release" / "labels.txt").write_text("can")


def _another_key(folder: Path) -> None:
    (folder / "release.pub").write_bytes(public_half(an_ec_key(folder / "other.pem")))


def _flipped(folder: Path) -> None:
    text = (folder / "release.sig").read_text()
    place = text.index('"payload"') + 40
    flipped = "A" if text[place] != "A" else "B"
    (folder / "release.sig").write_text(text[:place] + flipped + text[place + 1 :])


def _no_bundle(folder: Path) -> None:
    (folder / "release.sig").write_text("{}")


@pytest.mark.parametrize("tamper", [_changed, _removed, _added, _another_key, _flipped, _no_bundle])
def test_anything_else_is_not(signed: Path, tamper) -> None:
    """The error names the bundle and the folder."""
    tamper(signed)
    with pytest.raises(ContentError, match="does not hold what is in") as refused:
        verify(signed)
    assert "release.sig" in str(refused.value)


@pytest.mark.parametrize("curve", [SECP256R1(), SECP521R1()], ids=lambda curve: curve.name)
def test_the_public_half_is_openssls(tmp_path: Path, curve: EllipticCurve) -> None:
    """Of every curve that the form knows, as `openssl ec -pubout` prints it."""
    key = an_ec_key(tmp_path / "key.pem", curve)
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    told = subprocess.run(["openssl", "ec", "-in", key, "-pubout"], capture_output=True, check=True).stdout
    assert public_half(key) == told


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    """What it is, where, and how one is made."""
    with pytest.raises(MissingFileError, match="the key cannot be read"):
        public_half(tmp_path / "none")
    ed25519 = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ed25519").write_bytes(ed25519)
    (tmp_path / "text").write_text("no key")
    an_ec_key(tmp_path / "bitcoins", SECP256K1())
    for name in ("ed25519", "text", "bitcoins"):
        with pytest.raises(ContentError, match="not a private key on the curve P-256, P-384 or P-521"):
            public_half(tmp_path / name)
    secret = an_ec_key(tmp_path / "secret", encryption=BestAvailableEncryption(b"secret"))
    with pytest.raises(ContentError, match="with a passphrase, which model_signing cannot use"):
        public_half(secret)
