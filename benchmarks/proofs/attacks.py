"""Every attack of TUF and Uptane that applies, against the real agent of a device with a keyring: each is refused with its own error, and the model that ran still runs.

Freezing and dropping need a device that asks for updates: here the controller sends, and reads back what runs. What is left of them is the replay of an order.
The attacker holds the connection, as one who stole the SSH key: what he sends are the requests themselves. Run it by `make proof-attacks`, or
`python -m benchmarks.proofs.attacks`; `tests/agent/test_attacks.py` runs the same table.
"""

from __future__ import annotations

import base64
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.core.keyring import KEYRING_NAMESPACE, ORDER_NAMESPACE, RELEASE_NAMESPACE, Keyring, SignedKeyring
from ota.core.order_text import order_text
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.remote import local
from ota.remote.bootstrap import bootstrap_argv
from ota.remote.device import Device
from ota.remote.dialogue import Dialogue, Fields, Json, RefusedError
from ota.signing import sshsig
from ota.signing.keys import NewKey, generate, signer

from .figures import Figures

HOST = Host(name="board")
OLD, LIVE, NEW = b"TFL3 an old model", b"TFL3 the model that runs", b"TFL3 a newer model"
LIVE_COUNTER = 10
Signatures = dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A device with a keyring of ada, bob and cleo, two of whom have to sign; it runs LIVE. `folder` holds what the project has: keys and files."""

    folder: Path
    ring: Keyring
    live: Release

    @property
    def root(self) -> Path:
        """Its ota_root."""
        return self.folder / "board"

    @contextmanager
    def agent(self) -> Iterator[Dialogue]:
        """Yield a dialogue with a real agent process, greeted."""
        transport = local.connect(HOST, Connection(kind="local", address="x"))
        try:
            argv = bootstrap_argv(sys.executable, str(self.root), keep=True)
            dialogue = Dialogue(transport.open(argv), HOST.name, python=sys.executable)
            yield dialogue
            dialogue.close()
        finally:
            transport.close()

    def device(self) -> Device:
        """Open the device as the workflows do."""
        transport = local.connect(HOST, Connection(kind="local", address="x"))
        return Device.open(HOST, transport, model="m", root=str(self.root), python=sys.executable)

    def sign(self, namespace: str, content: bytes, *names: str) -> Signatures:
        """Return signatures of `content` by those keys, by name."""
        held = {key.name: key for key in self.ring.keys}
        return {
            name: sshsig.sign(signer(held[name], self.folder / "keys", str), namespace, content)
            for name in names
        }

    def signed(self, release: Release, *names: str) -> Fields:
        """Return the fields of a request to stage a release, signed by ada and bob unless said."""
        text = release.manifest.to_json()
        signatures = self.sign(RELEASE_NAMESPACE, text.encode(), *(names or ("ada", "bob")))
        return {"release": release.id, "manifest": text, "signatures": signatures}

    def order(self, agent: Dialogue, release: str, **other: str) -> Fields:
        """Return a signed order to activate a release in this session, with those fields other than they should be."""
        said = {"operation": "activate", "root": str(self.root), "nonce": agent.nonce, **other}
        text = order_text(said["operation"], release, root=said["root"], nonce=said["nonce"])
        return {"text": text, "signatures": self.sign(ORDER_NAMESPACE, text.encode(), "ada")}

    def put(self, content: bytes) -> None:
        """Send a model file, as anybody with the connection can."""
        path = self.folder / Digest.of(content).hex
        path.write_bytes(content)
        with self.device() as device:
            device.put(BlobKind.CANDIDATE, Digest.of(content), path)

    def staged(self, content: bytes = NEW, counter: int = LIVE_COUNTER + 1) -> Release:
        """Stage a good release and return it."""
        release = release_of(content, counter=counter)
        self.put(content)
        with self.agent() as agent:
            agent.ask("stage", self.signed(release))
        return release

    def current(self) -> bytes:
        """Return the model that the application would open."""
        return (self.root / "current" / MODEL_ARTIFACT).read_bytes()


def release_of(content: bytes, **manifest: object) -> Release:
    """Return a release of a model file whose manifest says this too."""
    artifact = Artifact(name=MODEL_ARTIFACT, digest=Digest.of(content), size_bytes=len(content))
    plain = Manifest(model="m", artifacts=(artifact,), counter=LIVE_COUNTER + 1)
    return Release(manifest=replace(plain, **manifest))  # type: ignore[arg-type]


def board(folder: Path) -> Board:
    """Make a device in `folder` that trusts its keyring and runs LIVE, confirmed."""
    made = [_kept(generate(name), folder / "keys") for name in ("ada", "bob", "cleo")]
    ring = Keyring(version=1, threshold=2, keys=tuple(one.key for one in made))
    live = release_of(LIVE, counter=LIVE_COUNTER)
    here = Board(folder=folder, ring=ring, live=live)
    here.put(LIVE)
    with here.device() as device:
        device.adopt(SignedKeyring(keyring=ring, signatures=()))
    with here.agent() as agent:
        agent.ask("stage", here.signed(live))
        order = here.order(agent, live.id)
        agent.ask("activate", {"release": live.id, "expected_current": None, "order": order})
        agent.ask("confirm", {"release": live.id})
    return here


def _kept(key: NewKey, folder: Path) -> NewKey:
    key.write(folder)
    return key


def _stage(here: Board, fields: Fields) -> None:
    with here.agent() as agent:
        agent.ask("stage", fields)


def _activate(here: Board, agent: Dialogue, release: Release, order: Json) -> None:
    fields: Fields = {"release": release.id, "expected_current": here.live.id, "order": order}
    agent.ask("activate", fields)


def _unsigned(here: Board) -> None:
    release = release_of(NEW)
    _stage(here, {"release": release.id, "manifest": release.manifest.to_json(), "signatures": {}})


def _by_a_stranger(here: Board) -> None:
    release, eve = release_of(NEW), _kept(generate("eve"), here.folder / "eve")
    text = release.manifest.to_json()
    found = signer(eve.key, here.folder / "eve", str)
    forged = sshsig.sign(found, RELEASE_NAMESPACE, text.encode())
    _stage(here, {"release": release.id, "manifest": text, "signatures": {"ada": forged, "bob": forged}})


def _below_the_threshold(here: Board) -> None:
    _stage(here, here.signed(release_of(NEW), "ada"))


def _one_key_under_two_names(here: Board) -> None:
    release = release_of(NEW)
    ada = here.sign(RELEASE_NAMESPACE, release.manifest.to_json().encode(), "ada")["ada"]
    _stage(here, {**here.signed(release), "signatures": {"ada": ada, "bob": ada}})


def _for_another_purpose(here: Board) -> None:
    release = release_of(NEW)
    text = release.manifest.to_json()
    signatures = here.sign(ORDER_NAMESPACE, text.encode(), "ada", "bob")
    _stage(here, {"release": release.id, "manifest": text, "signatures": signatures})


def _malformed_signature(here: Board) -> None:
    release = release_of(NEW)
    _stage(here, {**here.signed(release), "signatures": {"ada": "-----BEGIN", "bob": 7}})


def _revoked_key(here: Board) -> None:
    following = Keyring(version=2, threshold=1, keys=(here.ring.keys[2],))
    text = following.to_json()
    with here.agent() as agent:
        signatures = here.sign(KEYRING_NAMESPACE, text.encode(), "ada", "bob")
        agent.ask("adopt", {"keyring": text, "signatures": signatures})
        agent.ask("stage", here.signed(release_of(NEW), "ada"))


def _keyring_of_his_own(here: Board) -> None:
    eve = generate("eve").key
    text = Keyring(version=2, threshold=1, keys=(eve,)).to_json()
    with here.agent() as agent:
        agent.ask("adopt", {"keyring": text, "signatures": {}})


def _keyring_by_too_few(here: Board) -> None:
    text = Keyring(version=2, threshold=1, keys=(here.ring.keys[0],)).to_json()
    with here.agent() as agent:
        signatures = here.sign(KEYRING_NAMESPACE, text.encode(), "ada")
        agent.ask("adopt", {"keyring": text, "signatures": signatures})


def _keyring_downgrade(here: Board) -> None:
    second = Keyring(version=2, threshold=2, keys=here.ring.keys[1:]).to_json()
    with here.agent() as agent:
        signatures = here.sign(KEYRING_NAMESPACE, second.encode(), "ada", "bob")
        agent.ask("adopt", {"keyring": second, "signatures": signatures})
        agent.ask("adopt", {"keyring": here.ring.to_json(), "signatures": {}})


def _malformed_keyring(here: Board) -> None:
    with here.agent() as agent:
        agent.ask("adopt", {"keyring": here.ring.to_json().replace(",", ", "), "signatures": {}})


def _rollback(here: Board) -> None:
    here.put(OLD)
    _stage(here, here.signed(release_of(OLD, counter=LIVE_COUNTER - 1)))


def _without_a_counter(here: Board) -> None:
    here.put(OLD)
    _stage(here, here.signed(release_of(OLD, counter=0)))


def _rollback_by_request(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        agent.ask("rollback", {"to": release.id})


def _go_back(release: Release, agent: Dialogue, order: Fields) -> None:
    agent.ask("rollback", {"to": release.id, "order": dict(order)})


def _replayed_way_back(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        recorded = here.order(agent, release.id, operation="rollback")
    with here.agent() as agent:
        _go_back(release, agent, recorded)


def _way_back_to_another_release(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        _go_back(release, agent, here.order(agent, here.live.id, operation="rollback"))


def _way_back_on_another_device(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        _go_back(release, agent, here.order(agent, release.id, operation="rollback", root="/another"))


def _way_back_by_a_deployment(here: Board) -> None:
    """An order to activate just this release, in this session."""
    release = here.staged()
    with here.agent() as agent:
        _go_back(release, agent, here.order(agent, release.id))


def _no_order(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        _activate(here, agent, release, None)


def _replayed_order(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        recorded = here.order(agent, release.id)
    with here.agent() as agent:
        _activate(here, agent, release, dict(recorded))


def _order_for_another_release(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        _activate(here, agent, release, dict(here.order(agent, here.live.id)))


def _order_for_another_device(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        _activate(here, agent, release, dict(here.order(agent, release.id, root="/another")))


def _order_for_another_operation(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        _activate(here, agent, release, dict(here.order(agent, release.id, operation="rollback")))


def _altered_order(here: Board) -> None:
    release = here.staged()
    with here.agent() as agent:
        order = dict(here.order(agent, here.live.id))
        order["text"] = str(order["text"]).replace(here.live.id, release.id)
        _activate(here, agent, release, order)


def _order_by_a_stranger(here: Board) -> None:
    release, eve = here.staged(), _kept(generate("eve"), here.folder / "eve")
    with here.agent() as agent:
        text = order_text("activate", release.id, root=str(here.root), nonce=agent.nonce)
        forged = sshsig.sign(signer(eve.key, here.folder / "eve", str), ORDER_NAMESPACE, text.encode())
        _activate(here, agent, release, {"text": text, "signatures": {"ada": forged}})


def _mix_and_match(here: Board) -> None:
    """A file of one release under the digest of another."""
    release = release_of(NEW)
    here.put(NEW)
    (here.root / "candidates" / Digest.of(NEW).hex).write_bytes(OLD.ljust(len(NEW)))
    _stage(here, here.signed(release))


def _signatures_of_another_manifest(here: Board) -> None:
    _stage(here, {**here.signed(release_of(NEW)), "signatures": here.signed(here.live)["signatures"]})


def _changed_after_staging(here: Board) -> None:
    release = here.staged()
    (here.root / "releases" / release.id / MODEL_ARTIFACT).write_bytes(OLD)
    with here.agent() as agent:
        _activate(here, agent, release, dict(here.order(agent, release.id)))


def _manifest_of_another_id(here: Board) -> None:
    _stage(here, {**here.signed(release_of(NEW)), "release": here.live.id})


def _wrong_model(here: Board) -> None:
    _stage(here, here.signed(release_of(NEW, model="another")))


def _wrong_class(here: Board) -> None:
    _stage(here, here.signed(release_of(NEW, compatible=("not-" + platform.machine(),))))


def _wrong_board(here: Board) -> None:
    _stage(here, here.signed(release_of(NEW, boards=("Another Board Model B Rev 1.4",))))


def _sized(content: bytes, size: int) -> Callable[[Board], None]:
    def attack(here: Board) -> None:
        here.put(content)
        artifact = Artifact(name=MODEL_ARTIFACT, digest=Digest.of(content), size_bytes=size)
        _stage(here, here.signed(release_of(content, artifacts=(artifact,))))

    return attack


def _endless_data(here: Board) -> None:
    """More bytes than any disk has are told of."""
    with here.agent() as agent:
        agent.ask("put", {"kind": "candidates", "digest": Digest.of(NEW).hex, "size": 2**62})


def _other_bytes(here: Board) -> None:
    """What arrives is not what was announced."""
    path = here.folder / "other"
    path.write_bytes(NEW)
    with here.device() as device:
        device.put(BlobKind.CANDIDATE, Digest.of(OLD), path)


def _endless_manifest(here: Board) -> None:
    text = json.dumps({"format": 1, "model": "m" * 2_000_000, "artifacts": []})
    release = Digest.of(text.encode()).hex[:16]
    _stage(here, {"release": release, "manifest": text, "signatures": {}})


def _endless_signatures(here: Board) -> None:
    signatures: Signatures = {f"name-{number}": "x" for number in range(100)}
    _stage(here, {**here.signed(release_of(NEW)), "signatures": signatures})


def _malformed_manifest(text: str) -> Callable[[Board], None]:
    def attack(here: Board) -> None:
        release = Digest.of(text.encode()).hex[:16]
        signatures = here.sign(RELEASE_NAMESPACE, text.encode(), "ada", "bob")
        _stage(here, {"release": release, "manifest": text, "signatures": signatures})

    return attack


def _outside_its_folder(here: Board) -> None:
    here.put(NEW)
    artifact = Artifact(name="../../escaped", digest=Digest.of(NEW), size_bytes=len(NEW))
    _stage(here, here.signed(release_of(NEW, artifacts=(artifact,))))


ATTACKS: dict[str, tuple[Callable[[Board], None], str]] = {
    "arbitrary software: unsigned": (_unsigned, "unsigned"),
    "arbitrary software: signed by a stranger": (_by_a_stranger, "bad_signature"),
    "arbitrary software: signatures of another manifest": (_signatures_of_another_manifest, "bad_signature"),
    "arbitrary software: signed for another purpose": (_for_another_purpose, "bad_signature"),
    "arbitrary software: changed after staging": (_changed_after_staging, "damaged"),
    "arbitrary software: a file outside its folder": (_outside_its_folder, "bad_request"),
    "key compromise: fewer keys than the threshold": (_below_the_threshold, "threshold"),
    "key compromise: one key under two names": (_one_key_under_two_names, "bad_signature"),
    "key compromise: a revoked key": (_revoked_key, "bad_signature"),
    "keyring: one of his own": (_keyring_of_his_own, "unsigned"),
    "keyring: signed by too few": (_keyring_by_too_few, "threshold"),
    "keyring: an older one": (_keyring_downgrade, "keyring_version"),
    "keyring: malformed": (_malformed_keyring, "bad_keyring"),
    "rollback: an older release": (_rollback, "older"),
    "rollback: without a counter": (_without_a_counter, "older"),
    "rollback: asked for, to what never ran": (_rollback_by_request, "unordered"),
    "rollback: an order of another session": (_replayed_way_back, "replayed"),
    "rollback: an order for another release": (_way_back_to_another_release, "other_order"),
    "rollback: an order for another device": (_way_back_on_another_device, "other_order"),
    "rollback: an order to deploy it": (_way_back_by_a_deployment, "other_order"),
    "replay and freeze: an order of another session": (_replayed_order, "replayed"),
    "order: none": (_no_order, "unordered"),
    "order: for another release": (_order_for_another_release, "other_order"),
    "order: for another device": (_order_for_another_device, "other_order"),
    "order: for another operation": (_order_for_another_operation, "other_order"),
    "order: altered": (_altered_order, "bad_signature"),
    "order: by a stranger": (_order_by_a_stranger, "bad_signature"),
    "mix and match: another file under a digest": (_mix_and_match, "damaged"),
    "mix and match: a manifest under another id": (_manifest_of_another_id, "manifest"),
    "wrong device: another model": (_wrong_model, "other_model"),
    "wrong device: another architecture": (_wrong_class, "incompatible"),
    "wrong device: another board": (_wrong_board, "incompatible"),
    "endless data: a file larger than the disk": (_endless_data, "no_space"),
    "endless data: a manifest": (_endless_manifest, "oversized"),
    "endless data: signatures": (_endless_signatures, "oversized"),
    "partial bundle: truncated": (_sized(NEW, len(NEW) + 1), "size"),
    "partial bundle: oversized": (_sized(NEW, len(NEW) - 1), "size"),
    "partial bundle: other bytes arrive": (_other_bytes, "digest"),
    "malformed: a manifest that is no JSON": (_malformed_manifest("{"), "manifest"),
    "malformed: a manifest nested without end": (_malformed_manifest("[" * 100_000), "manifest"),
    "malformed: a manifest of another shape": (_malformed_manifest('{"format":1}'), "manifest"),
    "malformed: signatures": (_malformed_signature, "bad_signature"),
}
"""Each attack by its name, and the code of the refusal that it has to meet."""


def refusal(attack: Callable[[Board], None], here: Board) -> str:
    """Return the code that an attack is refused with, empty where it is not."""
    try:
        attack(here)
    except RefusedError as refused:
        return refused.code
    return ""


def flips(content: bytes) -> Iterator[bytes]:
    """Yield `content` with each of its bits turned."""
    for place in range(len(content)):
        for bit in range(8):
            yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def flipped_manifests(here: Board) -> Iterator[Fields]:
    """Yield requests to stage a release whose manifest has one bit turned; the id is that of the turned text, the signatures are good for the other."""
    fields = here.signed(release_of(NEW))
    for turned in flips(str(fields["manifest"]).encode()):
        # What is not UTF-8 cannot be said in JSON: the nearest that can be.
        text = turned.decode("utf-8", "replace")
        yield {**fields, "manifest": text, "release": Digest.of(text.encode()).hex[:16]}


def flipped_signatures(here: Board) -> Iterator[Fields]:
    """Yield requests to stage a release one of whose two signatures has one bit of its bytes turned."""
    fields = here.signed(release_of(NEW))
    good = fields["signatures"]
    if not isinstance(good, dict):
        raise TypeError("no signatures")
    head, *body, tail = str(good["ada"]).splitlines()
    for turned in flips(base64.b64decode("".join(body))):
        text = base64.b64encode(turned).decode()
        lines = [text[start : start + 70] for start in range(0, len(text), 70)]
        yield {**fields, "signatures": {**good, "ada": "\n".join((head, *lines, tail)) + "\n"}}


def refused_all(here: Board, requests: Sequence[Fields]) -> tuple[int, set[str]]:
    """Return how many of the requests one agent refuses, and the codes."""
    codes: list[str] = []
    with here.agent() as agent:
        for fields in requests:
            try:
                agent.ask("admit", fields)
            except RefusedError as refused:
                codes.append(refused.code)
    return len(codes), set(codes)


def main() -> None:
    """Carry every attack out on a device of its own, then turn every bit; print what each met."""
    figures, began = Figures(), time.monotonic()
    right = unharmed = 0
    for name, (attack, code) in ATTACKS.items():
        with tempfile.TemporaryDirectory() as folder:
            here = board(Path(folder))
            found = refusal(attack, here)
            right += found == code
            unharmed += here.current() == LIVE
        print(f"{name}: {found or 'NOT REFUSED'}" + ("" if found == code else f", expected {code}"))
    figures.add("attacks refused with their own error", right, "=", len(ATTACKS))
    figures.add("devices that still run their model", unharmed, "=", len(ATTACKS))
    with tempfile.TemporaryDirectory() as folder:
        here = board(Path(folder))
        with here.agent() as agent:
            agent.ask("admit", here.signed(release_of(NEW)))  # unturned it is admitted
        for what, requests in (
            ("manifest", [*flipped_manifests(here)]),
            ("signature", [*flipped_signatures(here)]),
        ):
            refused, codes = refused_all(here, requests)
            print(f"{len(requests)} bits of the {what} turned, one at a time: {', '.join(sorted(codes))}")
            figures.add(f"bits of the {what} whose turning is refused", refused, "=", len(requests))
    print(f"{time.monotonic() - began:.0f} s")
    figures.finish()


if __name__ == "__main__":
    main()
