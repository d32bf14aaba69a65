"""What a device is asked, each request with how its answer is read; the counterpart of the replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ota.core.facts import Facts, SlotState
from ota.core.journal_head import JournalState
from ota.core.keyring import SignedKeyring
from ota.core.order_text import Authority, order_text
from ota.core.protocol import BlobKind
from ota.core.release import Artifact, Digest, Release
from ota.core.wire import Encoding
from ota.remote.answers import Held, Lease, ReadBack
from ota.remote.bench_replies import BlockReply, TurnRequest, block_reply
from ota.remote.dialogue import Answer, Fields, Json, number
from ota.remote.replies import facts_of, held_of, journal_of, read_back_of, slot_of

T = TypeVar("T")

_CHUNK = 1 << 18
TURN_TIMEOUT_S = 900.0
COOL_TO_C = 60.0
COOL_S = 300.0


def _nothing(_answer: Answer, _host: str) -> None:
    """Read an answer that says no more than that it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """A file whose first `length` bytes go out behind a request; `on_begin` hears that they begin to, `on_progress` how many have, of how many."""

    path: Path
    length: int
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    on_begin: Callable[[], None] = lambda: None

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from `start`, exactly: a file that shrinks meanwhile is a fault of ours, not of the device."""
        self.on_begin()
        with self.path.open("rb") as file:
            file.seek(start)
            done = start
            while done < self.length:
                piece = file.read(min(_CHUNK, self.length - done))
                if not piece:
                    raise OSError(f"{self.path} became shorter while it was sent")
                done += len(piece)
                yield piece
                self.on_progress(done, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(Generic[T]):
    """A request, and how its answer is read, for a host of that name; `along` goes out behind it."""

    op: str
    read: Callable[[Answer, str], T]
    fields: Fields = field(default_factory=dict)
    along: Along | None = None


def facts() -> Asking[Facts]:
    """Ask what the device says of itself."""
    return Asking(op="facts", read=lambda answer, host: facts_of(answer.fields, host))


def slot(read: str | None = None) -> Asking[SlotState]:
    """Ask for the releases on the device, read back now; `read` that one and the current one alone, for to read a large model back costs a board more than a round trip."""
    fields: Fields = {} if read is None else {"read": read}
    return Asking(op="slot", fields=fields, read=lambda answer, host: slot_of(answer.fields, host))


def held(kind: BlobKind, digests: Sequence[Digest]) -> Asking[Held]:
    """Ask which files of a kind the device has whole, and which transfers were cut."""
    fields: Fields = {"kind": kind.value, "digests": [digest.hex for digest in digests]}
    return Asking(op="held", fields=fields, read=lambda answer, host: held_of(answer.fields, host))


def ready(wanted: Sequence[tuple[BlobKind, Artifact]], *, look: bool) -> Asking[None]:
    """Ask whether the device can take these files; `look` changes nothing there."""
    files: list[Json] = [file_fields(kind, artifact) for kind, artifact in wanted]
    return Asking(op="ready", fields={"files": files, "look": look}, read=_nothing)


def admit(release: Release, signatures: Sequence[tuple[str, str]]) -> Asking[None]:
    """Ask whether a release may be staged there."""
    return Asking(op="admit", fields=release_fields(release, signatures), read=_nothing)


def bring(
    kind: BlobKind, digest: Digest, size_bytes: int, along: Along, form: Encoding | None
) -> Asking[int]:
    """Send a file that the device has nothing of, or an encoding of it, along with the request; the answer is how many bytes it took.

    Where something of it is there after all, or the form is of no use there, that is refused as `unsent`.
    """
    fields = put_fields(kind, digest, size_bytes, () if form is None else (form,))
    if form is not None:
        fields["form"] = 0
    return Asking(
        op="put",
        fields=fields,
        along=along,
        read=lambda answer, host: number(answer.fields, "sent", host, most=along.length),
    )


def stage(release: Release, signatures: Sequence[tuple[str, str]]) -> Asking[bool]:
    """Have a release built from files that are there; the answer is whether anything was done."""
    return Asking(
        op="stage",
        fields=release_fields(release, signatures),
        read=lambda answer, _: answer.fields.get("changed") is True,
    )


def activate(
    release_id: str, *, expected_current: str | None, lease: Lease | None, order: Fields
) -> Asking[ReadBack]:
    """Have a staged release made current, on trial; `order` is that of `order_fields`."""
    fields: Fields = {"release": release_id, "expected_current": expected_current, **order}
    limits: Fields = {} if lease is None else lease.fields
    return Asking(
        op="activate",
        fields={**fields, **limits},
        read=lambda answer, host: read_back_of(answer.fields, host),
    )


def rollback(to: str | None, *, order: Fields) -> Asking[ReadBack]:
    """Have the device return to `to`, None: its previous release."""
    return Asking(
        op="rollback",
        fields={"to": to, **order},
        read=lambda answer, host: read_back_of(answer.fields, host),
    )


def revert() -> Asking[ReadBack]:
    """Have the device go back from the release on trial to the one before it; `previous` becomes what it was."""
    return Asking(op="revert", read=lambda answer, host: read_back_of(answer.fields, host))


def confirm(release_id: str) -> Asking[None]:
    """Have the trial of a release ended."""
    return Asking(op="confirm", fields={"release": release_id}, read=_nothing)


def prune(keep: int) -> Asking[tuple[str, ...]]:
    """Have the oldest releases beyond `keep` removed; the answer are their ids."""

    def removed(answer: Answer, _host: str) -> tuple[str, ...]:
        names = answer.fields.get("removed")
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    return Asking(op="prune", fields={"keep": keep}, read=removed)


def journal(at: int) -> Asking[JournalState]:
    """Ask for the journal as it is now, with the digest of its line `at`."""
    return Asking(op="journal", fields={"at": at}, read=lambda answer, host: journal_of(answer.fields, host))


def bench(
    dataset: Digest,
    turns: Sequence[TurnRequest],
    *,
    warmup: int = 0,
    warmup_s: float = 0.0,
    cool_to_c: float = COOL_TO_C,
    cool_s: float = COOL_S,
    turn_timeout_s: float = TURN_TIMEOUT_S,
) -> Asking[BlockReply]:
    """Ask for one block: candidates over samples, all of them on the device already, in this order, each turn in a fresh process.

    Each turn begins with `warmup` untimed inferences and `warmup_s` seconds of them, at least. Before the block the device may cool to `cool_to_c`
    degrees Celsius, for `cool_s` seconds at most.
    """
    fields: Fields = {
        "dataset": dataset.hex,
        "turns": [turn_fields(turn) for turn in turns],
        "warmup": warmup,
        "warmup_s": warmup_s,
        "cool_to_c": cool_to_c,
        "cool_s": cool_s,
        "turn_timeout_s": turn_timeout_s,
    }
    return Asking(op="bench", fields=fields, read=lambda answer, host: block_reply(answer, len(turns), host))


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


def order_fields(operation: str, release_id: str, authority: Authority, *, root: str, nonce: str) -> Fields:
    """Return the order, signed by `authority`, for one operation on one release in the session that told this nonce."""
    said = order_text(operation, release_id, root=root, nonce=nonce)
    return {"order": {"text": said, "signatures": _by_name(authority(said.encode()))}}


def _by_name(signatures: Sequence[tuple[str, str]]) -> dict[str, Json]:
    return dict(signatures)
