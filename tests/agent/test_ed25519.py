"""The device's own Ed25519: RFC 8032's vectors, agreement with the `cryptography` library, and the forms that it must refuse."""

from __future__ import annotations

import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ota.agent import ed25519

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = {
    "1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    "2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    "3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    "SHA(abc)": (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
}


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS.values(), ids=VECTORS.keys())
def test_the_vectors_of_rfc_8032_verify(public: str, message: str, signature: str) -> None:
    """Each vector verifies, and none with a byte more in its message."""
    key, text, signed = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert ed25519.verify(key, text, signed)
    assert not ed25519.verify(key, text + b"\0", signed)


def by_library(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return what `cryptography` says of a signature."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (ValueError, InvalidSignature):
        return False
    return True


def flipped(rng: random.Random, content: bytes) -> bytes:
    """Return `content` with one bit turned."""
    bit = rng.randrange(len(content) * 8)
    turned = bytearray(content)
    turned[bit // 8] ^= 1 << bit % 8
    return bytes(turned)


def test_it_agrees_with_the_library() -> None:
    """Over random keys and messages, as signed and with one bit turned in the key, the message or the signature, both say the same."""
    rng = random.Random(8032)
    said = set()
    for _ in range(150):
        private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public = private.public_key().public_bytes_raw()
        message = rng.randbytes(rng.randrange(1, 200))
        signature = private.sign(message)
        for case in (
            (public, message, signature),
            (flipped(rng, public), message, signature),
            (public, flipped(rng, message), signature),
            (public, message, flipped(rng, signature)),
        ):
            answer = ed25519.verify(*case)
            assert answer == by_library(*case)
            said.add(answer)
    assert said == {True, False}


PUBLIC, MESSAGE, SIGNATURE = (bytes.fromhex(text) for text in VECTORS["3"])
S = int.from_bytes(SIGNATURE[32:], "little")


def little(number: int) -> bytes:
    """Return a number as 32 bytes."""
    return number.to_bytes(32, "little")


# The points of order 1, 2, 4 and 8 (y coordinates; -y and the other sign are of the same orders).
Y8 = int.from_bytes(
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
)
FORMS = {
    "S + L, which satisfies the equation": (PUBLIC, SIGNATURE[:32] + little(S + ed25519.L)),
    "S = L": (PUBLIC, SIGNATURE[:32] + little(ed25519.L)),
    "a signature cut short": (PUBLIC, SIGNATURE[:-1]),
    "a signature with a byte more": (PUBLIC, SIGNATURE + b"\0"),
    "no signature": (PUBLIC, b""),
    "R beyond the field": (PUBLIC, little(ed25519.P + 1) + SIGNATURE[32:]),
    "R not on the curve": (PUBLIC, little(2) + SIGNATURE[32:]),
    "a key cut short": (PUBLIC[:-1], SIGNATURE),
    "no key": (b"", SIGNATURE),
    "a key beyond the field": (little(ed25519.P + 3), SIGNATURE),
    "a key not on the curve": (little(2), SIGNATURE),
    "x = 0 with a sign": (little(1 | 1 << 255), SIGNATURE),
    "a key of order 1, under which R = [S]B": (little(1), little(1) + little(0)),
    "a key of order 2": (little(ed25519.P - 1), little(1) + little(0)),
    "a key of order 4": (little(0), little(1) + little(0)),
    "a key of order 8": (little(Y8), little(1) + little(0)),
}


@pytest.mark.parametrize(("public", "signature"), FORMS.values(), ids=FORMS.keys())
def test_another_form_is_refused(public: bytes, signature: bytes) -> None:
    """Sizes, points and scalars out of their canonical form, and keys of small order, verify nothing."""
    assert ed25519.verify(PUBLIC, MESSAGE, SIGNATURE)
    assert not ed25519.verify(public, MESSAGE, signature)


def test_the_small_orders_are_what_they_are_called() -> None:
    """The keys of small order of the table are points of the curve, so that it is their order that is refused."""
    for y in (1, ed25519.P - 1, 0, Y8):
        assert ed25519.sound_signature(little(y) + little(0))
        assert ed25519.sound_key(little(y)) is None
