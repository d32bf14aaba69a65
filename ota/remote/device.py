"""A device as the workflows see it: one connection, one channel, the agent at its end.

Invariants: what the device answers is parsed into typed values here or is a HostError; no method but the named ones changes the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from ota.core.facts import Facts, Runtime, SlotState, Verified
from ota.core.inventory import Host
from ota.core.journal_head import JournalState
from ota.core.keyring import SignedKeyring
from ota.core.order_text import Authority
from ota.core.protocol import BlobKind
from ota.core.release import Artifact, Digest, Release
from ota.core.restriction import Restriction
from ota.core.wire import Encoding, Link
from ota.remote.answers import BootHook, CommandResult, Lease, ReadBack, Transfer
from ota.remote.bench_replies import (
    BlockReply,
    Examined,
    Refusal,
    TurnRequest,
    block_reply,
    examinations,
)
from ota.remote.bootstrap import bootstrap_argv
from ota.remote.dialogue import Answer, Dialogue, Fields, Json, number, optional_text, text
from ota.remote.replies import (
    facts_of,
    journal_of,
    optional_digest,
    runtime_of,
    slot_of,
    verified_of,
)
from ota.remote.requests import (
    file_fields,
    keyring_fields,
    order_fields,
    put_fields,
    release_fields,
    turn_fields,
)
from ota.remote.restriction import Limit, restriction_of
from ota.remote.transport import Transport

_CHUNK = 1 << 18
_TELLING_BYTES = 1 << 18
"""A transfer of so many bytes tells how fast the link is."""
DEFAULT_ROOT = "~/.local/share/ota"
TURN_TIMEOUT_S = 900.0
COOL_TO_C = 60.0
COOL_S = 300.0


class Device:
    """A context manager; used from one thread at a time."""

    def __init__(self, host: Host, transport: Transport, dialogue: Dialogue, root: str) -> None:
        self.host = host
        self.root = root
        self._transport = transport
        self._dialogue = dialogue
        self.link = Link()
        self._seen: SlotState | None = None

    @classmethod
    def open(
        cls,
        host: Host,
        transport: Transport,
        *,
        model: str,
        root: str | None = None,
        python: str | None = None,
        keep_agent: bool = True,
        trace: Callable[[str], None] = lambda _: None,
    ) -> Device:
        """Start the agent at the far end of `transport`; the Device closes both.

        `root` None: `~/.local/share/ota/<model>`. `keep_agent` False leaves no file on the device, for check mode.

        Raises:
            HostError: no Python there, or one too old, or no room for the agent.
            UnreachableError: the connection is gone.
        """
        interpreter = python or "python3"
        try:
            argv = bootstrap_argv(interpreter, root or f"{DEFAULT_ROOT}/{model}", keep=keep_agent)
            dialogue = Dialogue(transport.open(argv), host.name, trace)
            return cls(host, transport, dialogue, dialogue.greet(interpreter))
        except BaseException:
            transport.close()
            raise

    def __enter__(self) -> Device:  # noqa: PYI034 - Self is not in 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the agent and the connection; safe to call twice and from another thread."""
        self._dialogue.close()
        self._transport.close()

    def facts(self) -> Facts:
        """Return what the device says of itself."""
        return facts_of(self._ask("facts").fields, self.host.name)

    def slot(self) -> SlotState:
        """Return the releases on the device, read back now."""
        self._seen = slot_of(self._ask("slot").fields, self.host.name)
        return self._seen

    def first_look(self) -> SlotState:
        """Return what `slot` has just answered to whoever opened this dialogue, else ask: to read a release back costs a board more than a round trip."""
        seen, self._seen = self._seen, None
        return seen or self.slot()

    def verify(self, at: int = 0) -> Verified:
        """Return whether the current release's signatures are good under the keyring in force, and whether the journal is whole, with its line `at`."""
        return verified_of(self._ask("verify", {"at": at}).fields, self.host.name)

    def journal(self, at: int = 0) -> JournalState:
        """Return the journal as it is now, with the digest of its line `at`."""
        return journal_of(self._ask("journal", {"at": at}).fields, self.host.name)

    def held(self, wanted: Sequence[tuple[BlobKind, Digest]]) -> frozenset[Digest]:
        """Return those of the files that the device has whole, asked for in one round trip."""
        kinds = dict.fromkeys(kind for kind, _ in wanted)
        asked = [(kind, [digest.hex for each, digest in wanted if each is kind]) for kind in kinds]
        fields: list[Fields] = [{"kind": kind.value, "digests": list(digests)} for kind, digests in asked]
        names: set[Json] = set()
        began = time.monotonic()
        answers = self._dialogue.ask_all([("held", each) for each in fields])
        if answers:
            # What is asked needs a look at a few names: the time is the link's.
            took = time.monotonic() - began
            self.link = replace(self.link, round_trip_s=min(took, self.link.round_trip_s or took))
        for answer in answers:
            there = answer.fields.get("held")
            names |= {name for name in there if isinstance(name, str)} if isinstance(there, list) else set()
        return frozenset(digest for _, digest in wanted if digest.hex in names)

    def put(
        self,
        kind: BlobKind,
        digest: Digest,
        content: Path,
        *,
        timed: bool = False,
        forms: Sequence[Encoding] = (),
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Transfer:
        """Bring a file to the device, only what is missing of it, in the first of `forms` that the device can use, else as it is.

        `timed` sends one that is there once more, to time it.

        Raises:
            HostError: no room (the missing bytes are stated), a read-only or failing disk, or the bytes arrived damaged.
            UnreachableError: the connection was cut; the next call goes on where it ended.
        """
        size = content.stat().st_size
        began = time.monotonic()

        def send(event: Fields) -> None:
            nonlocal began
            if event.get("event") != "send":
                return
            path, length = content, size
            if "form" in event:
                form = forms[number(event, "form", self.host.name, most=len(forms) - 1)]
                path, length = Path(form.path), form.size_bytes
            start = number(event, "start", self.host.name, most=length)
            began = time.monotonic()
            self._dialogue.send(_pieces(path, start, length, on_progress))

        answer = self._dialogue.ask(
            "put", {**put_fields(kind, digest, size, forms), "again": timed}, on_event=send
        ).fields
        most = size + sum(form.size_bytes for form in forms)
        sent, seconds = number(answer, "sent", self.host.name, most=most), time.monotonic() - began
        used = (
            forms[number(answer, "form", self.host.name, most=len(forms) - 1)] if "form" in answer else None
        )
        if sent >= _TELLING_BYTES:
            self.link = replace(self.link, bytes_per_s=sent / max(seconds, 1e-6))
        return Transfer(bytes_sent=sent, seconds=seconds if sent else 0.0, form=used)

    def install_runtime(
        self,
        *,
        id: str,  # noqa: A002 - the record's own word
        package: str,
        version: str,
        wheels: Sequence[tuple[str, Digest]],
        system_site_packages: bool,
    ) -> tuple[Runtime, bool]:
        """Install a runtime from wheels that the device has, prove it, and return it and whether anything was done.

        Raises:
            HostError: it does not install or does not run there, in its own words.
        """
        answer = self._ask(
            "install",
            {
                "id": id,
                "package": package,
                "version": version,
                "wheels": [{"name": name, "sha256": digest.hex} for name, digest in wheels],
                "system_site_packages": system_site_packages,
            },
        ).fields
        return runtime_of(answer, self.host.name), answer.get("changed") is True

    def bench(
        self,
        dataset: Digest,
        turns: Sequence[TurnRequest],
        *,
        warmup: int,
        warmup_s: float,
        cool_to_c: float = COOL_TO_C,
        cool_s: float = COOL_S,
        turn_timeout_s: float = TURN_TIMEOUT_S,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> BlockReply:
        """Hold one block: run candidates over samples, all of them on the device already, in this order, each turn in a fresh process.

        Each turn begins with `warmup` untimed inferences and `warmup_s` seconds of them, at least. Before the block the device may cool to `cool_to_c`
        degrees Celsius, for `cool_s` seconds at most.

        Raises:
            HostError: the benchmark itself does not run, or the device's answer is not one.
        """

        def progress(event: Fields) -> None:
            if event.get("event") == "progress":
                on_progress(number(event, "done", self.host.name), number(event, "total", self.host.name))

        answer = self._dialogue.ask(
            "bench",
            {
                "dataset": dataset.hex,
                "turns": [turn_fields(turn) for turn in turns],
                "warmup": warmup,
                "warmup_s": warmup_s,
                "cool_to_c": cool_to_c,
                "cool_s": cool_s,
                "turn_timeout_s": turn_timeout_s,
            },
            on_event=progress,
        )
        return block_reply(answer, len(turns), self.host.name)

    def examine(
        self,
        dataset: Digest,
        pairs: Sequence[tuple[Digest, Runtime, int]],
        *,
        turn_timeout_s: float = TURN_TIMEOUT_S,
    ) -> tuple[Examined | Refusal, ...]:
        """Run each (candidate, runtime, threads) once in a process of its own, untimed: what memory it takes, and what a delegate takes of it.

        Raises:
            HostError: the benchmark itself does not run, or the device's answer is not one.
        """
        answer = self._ask(
            "examine",
            {
                "dataset": dataset.hex,
                "pairs": [
                    {"candidate": digest.hex, "runtime": runtime.id, "threads": threads}
                    for digest, runtime, threads in pairs
                ],
                "turn_timeout_s": turn_timeout_s,
            },
        )
        return examinations(answer, len(pairs), self.host.name)

    def adopt(self, keyring: SignedKeyring) -> bool:
        """Put a keyring in force; return whether it was not already.

        Raises:
            HostError: it does not follow the one in force, or that one's keys did not sign it.
        """
        answer = self._ask("adopt", keyring_fields(keyring))
        return answer.fields.get("changed") is True

    def ready(self, wanted: Sequence[tuple[BlobKind, Artifact]], *, look: bool = False) -> None:
        """Ask whether the device can take these files, before the first byte: all may be written there, and there is room for all that is missing.

        `look` changes nothing there; without it, what an interrupted run left is removed first, for its room.

        Raises:
            HostError: it cannot; what was found, the missing bytes, and what to do are in it.
        """
        files: list[Json] = [file_fields(kind, artifact) for kind, artifact in wanted]
        self._ask("ready", {"files": files, "look": look})

    def admit(self, release: Release, signatures: Sequence[tuple[str, str]] = ()) -> None:
        """Ask whether a release may be staged there, before anything of it is sent; RefusedError says why not."""
        self._ask("admit", release_fields(release, signatures))

    def stage(self, release: Release, signatures: Sequence[tuple[str, str]] = ()) -> bool:
        """Build a release from files that the device has, every digest verified there; return whether anything was done.

        `signatures` of the manifest are (name, armored).

        Raises:
            HostError: a file is missing or damaged, the root holds another model's releases, or the device's keyring asks for other signatures.
        """
        answer = self._ask("stage", release_fields(release, signatures))
        return answer.fields.get("changed") is True

    def activate(
        self,
        release_id: str,
        *,
        expected_current: str | None,
        lease: Lease | None = None,
        authority: Authority | None = None,
    ) -> ReadBack:
        """Make a staged release current, on trial until `confirm`; `expected_current` is what must be current before.

        With a lease the device goes back by itself where it hears nothing of the controller for so long, or where it was restarted before.
        A device with a keyring asks for an order, which `authority` signs.
        """
        order = order_fields("activate", release_id, authority, root=self.root, nonce=self._dialogue.nonce)
        fields: Fields = {"release": release_id, "expected_current": expected_current, **order}
        return self._read_back("activate", {**fields, **({} if lease is None else lease.fields)})

    def confirm(self, release_id: str) -> None:
        """End the trial: nobody has to go back any more."""
        self._ask("confirm", {"release": release_id})

    def revert(self) -> ReadBack:
        """Go back from the release on trial to the one before it; `previous` becomes what it was."""
        return self._read_back("revert", {})

    def rollback(self, to: str | None = None, *, authority: Authority | None = None) -> ReadBack:
        """Return to `to`, or to the previous release; afterwards there is no previous one. A second call changes nothing.

        To a release that was never confirmed there a device with a keyring asks for an order, which `authority` signs; it names `to`.

        Raises:
            HostError: there is no such release on the device, or it is not whole; RefusedError `unordered`: it asks for an order.
        """
        order = order_fields("rollback", to or "", authority, root=self.root, nonce=self._dialogue.nonce)
        return self._read_back("rollback", {"to": to, **order})

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove the oldest releases beyond `keep`, never one in use; return their ids."""
        removed = self._ask("prune", {"keep": keep}).fields.get("removed")
        return tuple(str(name) for name in removed) if isinstance(removed, list) else ()

    def boot_hook(self, choice: str) -> BootHook:
        """Install what leaves an unconfirmed release after a restart: `auto` the best that the device has, or systemd, systemd-user, cron, none.

        Raises:
            HostError: it cannot be installed there.
        """
        answer = self._ask("boot_hook", {"choice": choice}).fields
        return BootHook(
            kind=text(answer, "kind", self.host.name, most=40),
            name=text(answer, "name", self.host.name, most=200),
            changed=answer.get("changed") is True,
        )

    @property
    def public_key(self) -> str | None:
        """The key that let us in, its kind and base64; None where it was a password, or on this machine."""
        return self._transport.public_key

    def restrict(self, limit: Limit, *, look: bool = False) -> Restriction:
        """Limit a key to the agent in this version; `look` says what would be done, and changes nothing.

        Raises:
            HostError: sshd takes that key from another place, or this connection's own key may not.
        """
        return restriction_of(self._ask("restrict", {**limit.fields, "look": look}).fields, self.host.name)

    def restore_keys(self) -> None:
        """Put back the line that `restrict` replaced over this connection."""
        self._ask("restrict", {"undo": True})

    def run(self, command: str, *, timeout_s: float) -> CommandResult:
        """Run a shell command on the device, in its ota_root."""
        answer = self._ask("run", {"command": command, "timeout_s": timeout_s}).fields
        return CommandResult(
            exit_code=int(str(answer.get("exit_code", -1))),
            output=text(answer, "output", self.host.name, most=1 << 16),
        )

    def _ask(self, op: str, fields: Fields | None = None) -> Answer:
        return self._dialogue.ask(op, fields)

    def _read_back(self, op: str, fields: Fields) -> ReadBack:
        answer = self._ask(op, fields).fields
        return ReadBack(
            current=optional_text(answer, "current", self.host.name),
            digest=optional_digest(answer, "current_sha256", self.host.name),
            changed=answer.get("changed", True) is True,
        )


def _pieces(path: Path, start: int, size: int, on_progress: Callable[[int, int], None]) -> Iterator[bytes]:
    """Yield a file from `start`, exactly up to `size`: a file that shrinks meanwhile is a fault of ours, not of the device."""
    with path.open("rb") as file:
        file.seek(start)
        done = start
        while done < size:
            piece = file.read(min(_CHUNK, size - done))
            if not piece:
                raise OSError(f"{path} became shorter while it was sent")
            done += len(piece)
            yield piece
            on_progress(done, size)
