"""A device as the workflows see it: one connection, one channel, the agent at its end.

Invariants: what the device answers is parsed into typed values here or is a HostError; no method but the named ones changes the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ota.core.facts import Facts, Runtime, SlotState, Verified
from ota.core.inventory import Host
from ota.core.journal_head import JournalState
from ota.core.keyring import SignedKeyring
from ota.core.order_text import Authority
from ota.core.protocol import BlobKind
from ota.core.release import Artifact, Digest, Release
from ota.core.restriction import Restriction
from ota.core.wire import Encoding
from ota.remote import requests
from ota.remote.answers import BootHook, CommandResult, Lease, ReadBack, Transfer
from ota.remote.bench_replies import (
    BlockReply,
    Examined,
    Refusal,
    TurnRequest,
    examinations,
)
from ota.remote.bootstrap import bootstrap_argv
from ota.remote.dialogue import Answer, Dialogue, Fields, number, text
from ota.remote.flight import Flight
from ota.remote.replies import runtime_of, verified_of
from ota.remote.requests import TURN_TIMEOUT_S, Along, Asking, keyring_fields, order_fields, put_fields
from ota.remote.restriction import Limit, restriction_of
from ota.remote.transport import Transport

T = TypeVar("T")

DEFAULT_ROOT = "~/.local/share/ota"


class Device:
    """A context manager; used from one thread at a time."""

    def __init__(self, host: Host, transport: Transport, dialogue: Dialogue) -> None:
        self.host = host
        self._transport = transport
        self._dialogue = dialogue

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

        `root` None: `~/.local/share/ota/<model>`. `keep_agent` False leaves no file on the device, for check mode. The agent's first word is not waited
        for: where there is no Python, one too old, or no room for the agent, what is asked first raises HostError.

        Raises:
            UnreachableError: the connection is gone.
        """
        interpreter = python or "python3"
        try:
            argv = bootstrap_argv(interpreter, root or f"{DEFAULT_ROOT}/{model}", keep=keep_agent)
            return cls(
                host, transport, Dialogue(transport.open(argv), host.name, python=interpreter, trace=trace)
            )
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

    @property
    def root(self) -> str:
        """The absolute ota_root."""
        return self._dialogue.root

    @property
    def round_trip_s(self) -> float | None:
        """The seconds of a round trip of the link, as far as they are known."""
        return self._transport.round_trip_s

    def flight(self) -> Flight:
        """Return a flight for requests to this device."""
        return Flight(self._dialogue, self.host.name)

    def ask(self, asking: Asking[T]) -> T:
        """Send one request and return its answer.

        Raises:
            RefusedError: it was not carried out.
            HostError: the answer is not one.
            UnreachableError: the connection is gone.
        """
        flight = self.flight()
        reply = flight.add(asking)
        flight.go()
        return reply.value

    def facts(self) -> Facts:
        """Return what the device says of itself."""
        return self.ask(requests.facts())

    def slot(self) -> SlotState:
        """Return the releases on the device, read back now."""
        return self.ask(requests.slot())

    def verify(self, at: int = 0) -> Verified:
        """Return whether the current release's signatures are good under the keyring in force, and whether the journal is whole, with its line `at`."""
        return verified_of(self._ask("verify", {"at": at}).fields, self.host.name)

    def journal(self, at: int = 0) -> JournalState:
        """Return the journal as it is now, with the digest of its line `at`."""
        return self.ask(requests.journal(at))

    def held(self, wanted: Sequence[tuple[BlobKind, Digest]]) -> frozenset[Digest]:
        """Return those of the files that the device has whole, asked for in one flight."""
        flight = self.flight()
        kinds = dict.fromkeys(kind for kind, _ in wanted)
        replies = [
            flight.add(requests.held(kind, [digest for each, digest in wanted if each is kind]), then=False)
            for kind in kinds
        ]
        flight.go()
        return frozenset().union(*(reply.value.whole for reply in replies))

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
            along = Along(path=content, length=size, on_progress=on_progress)
            if "form" in event:
                form = forms[number(event, "form", self.host.name, most=len(forms) - 1)]
                along = Along(path=Path(form.path), length=form.size_bytes, on_progress=on_progress)
            start = number(event, "start", self.host.name, most=along.length)
            began = time.monotonic()
            self._dialogue.send(along.pieces(start))

        answer = self._dialogue.ask(
            "put", {**put_fields(kind, digest, size, forms), "again": timed}, on_event=send
        ).fields
        most = size + sum(form.size_bytes for form in forms)
        sent, seconds = number(answer, "sent", self.host.name, most=most), time.monotonic() - began
        used = (
            forms[number(answer, "form", self.host.name, most=len(forms) - 1)] if "form" in answer else None
        )
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
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        **seconds: float,
    ) -> BlockReply:
        """Hold one block; see `requests.bench`.

        Raises:
            HostError: the benchmark itself does not run, or the device's answer is not one.
        """

        def progress(event: Fields) -> None:
            if event.get("event") == "progress":
                on_progress(number(event, "done", self.host.name), number(event, "total", self.host.name))

        asking = requests.bench(dataset, turns, warmup=warmup, **seconds)
        answer = self._dialogue.ask(asking.op, asking.fields, on_event=progress)
        return asking.read(answer, self.host.name)

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
        self.ask(requests.ready(wanted, look=look))

    def admit(self, release: Release, signatures: Sequence[tuple[str, str]] = ()) -> None:
        """Ask whether a release may be staged there, before anything of it is sent; RefusedError says why not."""
        self.ask(requests.admit(release, signatures))

    def stage(self, release: Release, signatures: Sequence[tuple[str, str]] = ()) -> bool:
        """Build a release from files that the device has, every digest verified there; return whether anything was done.

        `signatures` of the manifest are (name, armored).

        Raises:
            HostError: a file is missing or damaged, the root holds another model's releases, or the device's keyring asks for other signatures.
        """
        return self.ask(requests.stage(release, signatures))

    def activation(
        self,
        release_id: str,
        *,
        expected_current: str | None,
        lease: Lease | None = None,
        authority: Authority | None = None,
    ) -> Asking[ReadBack]:
        """Return the request that makes a staged release current, on trial until `confirm`; `expected_current` is what must be current before.

        With a lease the device goes back by itself where it hears nothing of the controller for so long, or where it was restarted before.
        A device with a keyring asks for an order, which `authority` signs.
        """
        order = self._order("activate", release_id, authority)
        return requests.activate(release_id, expected_current=expected_current, lease=lease, order=order)

    def activate(
        self,
        release_id: str,
        *,
        expected_current: str | None,
        lease: Lease | None = None,
        authority: Authority | None = None,
    ) -> ReadBack:
        """Have a staged release made current; see `activation`."""
        return self.ask(
            self.activation(release_id, expected_current=expected_current, lease=lease, authority=authority)
        )

    def confirm(self, release_id: str) -> None:
        """End the trial: nobody has to go back any more."""
        self.ask(requests.confirm(release_id))

    def revert(self) -> ReadBack:
        """Go back from the release on trial to the one before it; `previous` becomes what it was."""
        return self.ask(requests.revert())

    def return_to(self, to: str | None, authority: Authority | None = None) -> Asking[ReadBack]:
        """Return the request to go back to `to`, or to the previous release; afterwards there is no previous one. Asked again it changes nothing.

        To a release that was never confirmed there a device with a keyring asks for an order, which `authority` signs; it names `to`.
        """
        return requests.rollback(to, order=self._order("rollback", to or "", authority))

    def rollback(self, to: str | None = None, *, authority: Authority | None = None) -> ReadBack:
        """Go back; see `return_to`.

        Raises:
            HostError: there is no such release on the device, or it is not whole; RefusedError `unordered`: it asks for an order.
        """
        return self.ask(self.return_to(to, authority))

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove the oldest releases beyond `keep`, never one in use; return their ids."""
        return self.ask(requests.prune(keep))

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

    def _order(self, operation: str, release_id: str, authority: Authority | None) -> Fields:
        if authority is None:
            return {}
        return order_fields(operation, release_id, authority, root=self.root, nonce=self._dialogue.nonce)
