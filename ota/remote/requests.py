"""What a device is asked, as the fields of a request; the counterpart of the replies."""

from __future__ import annotations

from collections.abc import Sequence

from ota.core.keyring import SignedKeyring
from ota.core.order_text import Authority, order_text
from ota.core.protocol import BlobKind
from ota.core.release import Artifact, Digest, Release
from ota.core.wire import Encoding
from ota.remote.bench_replies import TurnRequest
from ota.remote.dialogue import Fields, Json


def turn_fields(turn: TurnRequest) -> dict[str, Json]:
    """Return one turn of a block."""
    return {
        "candidate": turn.digest.hex,
        "runtime": turn.runtime.id,
        "threads": turn.threads,
        "first": turn.first,
        "step": turn.step,
        "count": turn.count,
        "min_s": turn.min_s,
        "max_s": turn.max_s,
        "keep": turn.keep,
    }


def file_fields(kind: BlobKind, artifact: Artifact) -> dict[str, Json]:
    """Return a file that is to come."""
    return {"kind": kind.value, "digest": artifact.digest.hex, "size": artifact.size_bytes}


def put_fields(kind: BlobKind, digest: Digest, size_bytes: int, forms: Sequence[Encoding]) -> dict[str, Json]:
    """Return a file that is sent now, and the forms in which it may come instead."""
    offered: list[Json] = [
        {
            "sha256": form.digest.hex,
            "size": form.size_bytes,
            "base": None if form.base is None else form.base.hex,
        }
        for form in forms
    ]
    return {"kind": kind.value, "digest": digest.hex, "size": size_bytes, "forms": offered}


def release_fields(release: Release, signatures: Sequence[tuple[str, str]]) -> Fields:
    """Return a release with its manifest and the signatures of that, (name, armored)."""
    return {"release": release.id, "manifest": release.manifest.to_json(), "signatures": _by_name(signatures)}


def keyring_fields(keyring: SignedKeyring) -> Fields:
    """Return a keyring and its signatures."""
    return {"keyring": keyring.keyring.to_json(), "signatures": _by_name(keyring.signatures)}


def order_fields(
    operation: str, release_id: str, authority: Authority | None, *, root: str, nonce: str
) -> Fields:
    """Return the order, signed by `authority`, for one operation on one release in the session that told this nonce; nothing without an authority."""
    if authority is None:
        return {}
    said = order_text(operation, release_id, root=root, nonce=nonce)
    return {"order": {"text": said, "signatures": _by_name(authority(said.encode()))}}


def _by_name(signatures: Sequence[tuple[str, str]]) -> dict[str, Json]:
    return dict(signatures)
