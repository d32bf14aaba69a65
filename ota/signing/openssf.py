"""OpenSSF's model signing: a folder's files signed in a Sigstore bundle, and checked as others will, both by the `model_signing` library.

That form knows the curves P-256, P-384 and P-521 and no Ed25519: its key is none of the release keys. The library is an extra of this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ota.errors import ContentError, Fault, MissingFileError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out FILE makes one"


def public_half(key: Path) -> bytes:
    """Return the public half, in PEM, of the private key in a file.

    Raises:
        MissingFileError: it cannot be read.
        ContentError: it is none that this form knows, or has a passphrase, which the library cannot use.
    """
    try:
        content = key.read_bytes()
    except OSError as error:
        raise MissingFileError(
            "the key cannot be read", where=str(key), found=error.strerror or "", hint=_MAKE
        ) from error
    try:
        private = load_pem_private_key(content, None)
    except TypeError as error:
        problem = "a private key with a passphrase, which model_signing cannot use"
        hint = "openssl ec -in FILE -out COPY makes a copy without one"
        raise ContentError(Fault(file=str(key), problem=problem, hint=hint)) from error
    except ValueError:
        private = None
    if not isinstance(private, EllipticCurvePrivateKey) or private.curve.name not in _CURVES:
        problem = "not a private key on the curve P-256, P-384 or P-521 in PEM"
        raise ContentError(Fault(file=str(key), problem=problem, hint=_MAKE))
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign_folder(folder: Path, signature: Path, key: Path) -> None:
    """Sign every file of a folder by the private key in a file, and write the bundle; UsageError where the library cannot be used."""
    signing = _library().signing
    signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, signature)


def verify_folder(folder: Path, signature: Path, public: Path) -> None:
    """See that a folder holds just what a bundle says, signed by the private half of a key; ContentError where not."""
    verifying = _library().verifying
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, signature)
    except Exception as error:
        # The library has no exception of its own: a bundle, too, that is none ends in whatever its parser raises.
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        problem = f"does not hold what is in {folder}: {said}"[:400]
        raise ContentError(Fault(file=str(signature), problem=problem, hint="export it again")) from error


def _library() -> ModuleType:
    try:
        import model_signing
    except ImportError as error:
        raise UsageError(
            "the library model_signing cannot be used",
            found=str(error),
            hint="pip install 'ota[model-signing]'",
        ) from error
    return model_signing
