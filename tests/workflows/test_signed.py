"""Devices with a keyring: they run what its keys signed, and nothing else, whoever asks over whatever connection."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ota.core.host_state import HostOutcome, HostState
from ota.core.host_status import drift
from ota.core.keyring import KEYRING_NAMESPACE, ORDER_NAMESPACE, RELEASE_NAMESPACE, Keyring, SignedKeyring
from ota.core.order_text import Authority
from ota.core.protocol import BlobKind
from ota.core.release import Release
from ota.errors import MissingFileError
from ota.remote.dialogue import RefusedError
from ota.remote.executor import ThreadExecutor
from ota.store import Store
from ota.workflows.deploy_host import deploy_host
from ota.workflows.heads import JournalMemory
from ota.workflows.rollback_host import rollback_host
from ota.workflows.status import status
from ota.workflows.trust import first_or_later
from tests.signing.rings import a_ring, make, signature
from tests.workflows.conftest import Bench

OLD, NEW = b"....TFL3 the old model", b"....TFL3 the new model"


@dataclass
class Project:
    """A project with keyrings in force, the newest last, and the folder of its private keys."""

    fleet: Bench
    folder: Path
    keyrings: list[SignedKeyring]

    @property
    def ring(self) -> Keyring:
        """The newest keyring."""
        return self.keyrings[-1].keyring

    def signatures(self, release: Release, *names: str) -> tuple[tuple[str, str], ...]:
        """Return the signatures of a release by these keys."""
        text = release.manifest.to_json().encode()
        return tuple(
            (name, signature(self.folder, self.ring, name, RELEASE_NAMESPACE, text)) for name in names
        )

    def authority(self, order: bytes) -> tuple[tuple[str, str], ...]:
        """Sign an order by the first key of the newest keyring."""
        name = self.ring.keys[0].name
        return ((name, signature(self.folder, self.ring, name, ORDER_NAMESPACE, order)),)

    def issued(self, content: bytes, **manifest: object) -> Release:
        """Return a release of `content` whose manifest says this too."""
        plain = self.fleet.release(content).manifest
        return Release(manifest=replace(plain, **manifest))  # type: ignore[arg-type]

    def deploy(self, content: bytes, *names: str, **manifest: object) -> HostOutcome:
        """Deploy a release, whose manifest says this too, signed by these keys."""
        release = self.issued(content, **manifest)
        order = replace(
            self.fleet.order(release),
            signatures=self.signatures(release, *names),
            keyrings=tuple(self.keyrings),
            authority=self.authority,
        )
        return deploy_host(self.fleet.host("a"), order, self.fleet.ends())

    def lay(self, release: Release, *names: str) -> Release:
        """Stage a release, signed by these keys, and activate nothing."""
        with self.fleet.connect(self.fleet.host("a")) as device:
            device.put(BlobKind.CANDIDATE, release.model.digest, self.fleet.blob(release.model.digest))
            device.stage(release, self.signatures(release, *names))
        return release

    def back(self, to: str, authority: Authority | None, **spec: object) -> HostOutcome:
        """Roll the device back to a named release."""
        order = replace(self.fleet.back(to, **spec), keyrings=tuple(self.keyrings), authority=authority)
        return rollback_host(self.fleet.host("a"), order, self.fleet.ends())

    def provision(self) -> None:
        """Bring the device what provisioning brings it."""
        with self.fleet.connect(self.fleet.host("a")) as device:
            first_or_later(device, device.slot().keyring, self.keyrings)

    def rotate(self, *names: str) -> None:
        """Put another keyring in force, signed by all keys of the one before."""
        held = {key.name: key for key in self.ring.keys}
        keys = tuple(held.get(name) or make(self.folder, name) for name in names)
        following = Keyring(version=self.ring.version + 1, threshold=1, keys=keys)
        signed = tuple(
            (
                key.name,
                signature(self.folder, self.ring, key.name, KEYRING_NAMESPACE, following.to_json().encode()),
            )
            for key in self.ring.keys
        )
        self.keyrings.append(SignedKeyring(keyring=following, signatures=signed))


@pytest.fixture
def project(fleet: Bench, tmp_path: Path) -> Project:
    """Return a project of the keys ada and bob, both of whom have to sign, whose device trusts them and runs the old release."""
    folder = tmp_path / "keys"
    ring = a_ring(folder, "ada", "bob", threshold=2)
    found = Project(fleet=fleet, folder=folder, keyrings=[SignedKeyring(keyring=ring, signatures=())])
    found.provision()
    assert found.deploy(OLD, "ada", "bob").state is HostState.CONFIRMED
    return found


@pytest.mark.parametrize(
    ("names", "reason"),
    [((), "takes only what is signed"), (("ada",), "1 of 2 signatures that are needed")],
    ids=["unsigned", "below the threshold"],
)
def test_what_is_not_signed_is_not_staged(project: Project, names: tuple[str, ...], reason: str) -> None:
    """The release that ran stays, and the reason is said."""
    outcome = project.deploy(NEW, *names)
    assert outcome.state is HostState.FAILED
    assert reason in outcome.reason
    assert project.fleet.current() == OLD
    assert project.deploy(NEW, "ada", "bob").state is HostState.CONFIRMED
    assert project.fleet.current() == NEW


def test_a_strangers_signature_is_none(project: Project) -> None:
    """A key that the keyring does not hold, under a name that it holds, is refused."""
    stranger = Project(
        fleet=project.fleet,
        folder=project.folder / "stranger",
        keyrings=[SignedKeyring(keyring=a_ring(project.folder / "stranger", "ada", "bob"), signatures=())],
    )
    outcome = stranger.deploy(NEW, "ada", "bob")
    assert outcome.state is HostState.FAILED
    assert "the signature of ada, bob is not good" in outcome.reason
    assert project.fleet.current() == OLD


def test_what_lay_there_before_the_keyring_is_not_activated(fleet: Bench, tmp_path: Path) -> None:
    """A release that was staged unsigned gets no further once the device has a keyring, and is signed in place."""
    folder = tmp_path / "keys"
    ring = SignedKeyring(keyring=a_ring(folder, "ada"), signatures=())
    project = Project(fleet=fleet, folder=folder, keyrings=[ring])
    release = fleet.release(NEW)
    with fleet.connect(fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, release.model.digest, fleet.blob(release.model.digest))
        device.stage(release)
    project.provision()
    with fleet.connect(fleet.host("a")) as device:
        with pytest.raises(RefusedError, match="takes only what is signed"):
            device.activate(release.id, expected_current=None)
        assert device.stage(release, project.signatures(release, "ada"))
        with pytest.raises(RefusedError, match="expected a signed order to activate"):
            device.activate(release.id, expected_current=None)
        assert device.activate(release.id, expected_current=None, authority=project.authority).changed


def test_a_device_is_led_through_every_keyring_that_it_missed(project: Project) -> None:
    """Two rotations later the device takes both keyrings in order; from then on a removed key's release is refused, one staged before too."""
    before = project.fleet.release(NEW)
    with project.fleet.connect(project.fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, before.model.digest, project.fleet.blob(before.model.digest))
        device.stage(before, project.signatures(before, "ada", "bob"))
    project.rotate("ada", "cleo")
    project.rotate("cleo")
    assert project.deploy(b"....TFL3 a third model", "cleo").state is HostState.CONFIRMED
    with project.fleet.connect(project.fleet.host("a")) as device:
        slot = device.slot()
        assert slot.keyring == 3
        with pytest.raises(RefusedError, match="no signature is by a key that this device trusts"):
            device.activate(before.id, expected_current=slot.current)


def test_a_keyring_that_the_old_keys_did_not_sign_is_refused(project: Project) -> None:
    """Whoever has the connection and no release key cannot change whom the device trusts, nor skip or return to a version."""
    for version, match in ((2, "takes only what is signed"), (3, "does not follow"), (1, "does not follow")):
        ring = replace(a_ring(project.folder / f"other {version}", "eve"), version=version)
        with project.fleet.connect(project.fleet.host("a")) as device:
            with pytest.raises(RefusedError, match=match):
                device.adopt(SignedKeyring(keyring=ring, signatures=()))
            assert device.slot().keyring == 1


def test_a_project_without_the_keys_is_told(project: Project) -> None:
    """A colleague whose project has no keyring learns why before anything is sent."""
    outcome = project.fleet.deploy(NEW)
    assert outcome.state is HostState.FAILED
    assert "trusts a keyring that this project does not have" in outcome.reason
    assert outcome.bytes_sent == 0


def test_a_device_without_a_keyring_is_told_of(fleet: Bench, tmp_path: Path) -> None:
    """A signed release runs there too, with the word that unsigned ones would."""
    folder = tmp_path / "keys"
    ring = SignedKeyring(keyring=a_ring(folder, "ada"), signatures=())
    project = Project(fleet=fleet, folder=folder, keyrings=[ring])
    assert project.deploy(NEW, "ada").state is HostState.CONFIRMED
    assert any("takes unsigned releases too" in warning for warning in fleet.warnings())


def test_a_verification_finds_what_was_tampered_with(project: Project, tmp_path: Path) -> None:
    """Signed and whole is no drift; a journal with a line changed or taken out, and a release whose signatures are gone, are."""

    def found() -> str:
        with Store.open(Path(tempfile.mkdtemp(dir=tmp_path))) as store:
            (one,) = status(
                [project.fleet.host("a")],
                {},
                model=project.fleet.model,
                connect=project.fleet.connect,
                executor=ThreadExecutor(),
                forks=1,
                verify=JournalMemory(heads=store.heads, now=str),
            )
        return drift(one)

    assert project.deploy(NEW, "ada", "bob").state is HostState.CONFIRMED
    assert found() == ""
    journal = project.fleet.root("a") / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join((lines[0], lines[1].replace(b"activate", b"activity"), *lines[2:])))
    assert found() == f"its journal was changed before line 3 of {len(lines)}"
    journal.write_bytes(b"".join((*lines[:2], *lines[3:])))
    assert found() == f"its journal was changed before line 3 of {len(lines) - 1}"
    journal.write_bytes(b"".join(lines))
    (project.fleet.root("a") / "current" / "signatures.json").write_text("{}")
    assert found().startswith("its signatures are not good: this device takes only what is signed")


def test_a_rollback_is_no_way_around_the_keyring(fleet: Bench, tmp_path: Path) -> None:
    """What was staged unsigned and never confirmed here is not gone back to; what was confirmed here is, though its keys are trusted no longer."""
    folder = tmp_path / "keys"
    ring = SignedKeyring(keyring=a_ring(folder, "ada"), signatures=())
    project = Project(fleet=fleet, folder=folder, keyrings=[ring])
    assert fleet.deploy(OLD).state is HostState.CONFIRMED
    unsigned = fleet.release(b"....TFL3 unsigned and staged")
    with fleet.connect(fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, unsigned.model.digest, fleet.blob(unsigned.model.digest))
        device.stage(unsigned)
    project.provision()
    assert project.deploy(NEW, "ada").state is HostState.CONFIRMED
    with fleet.connect(fleet.host("a")) as device:
        with pytest.raises(RefusedError, match="takes only what is signed"):
            device.rollback(unsigned.id)
        assert device.slot().current == fleet.release(NEW).id
    assert fleet.rollback(to=fleet.release(OLD).id).state is HostState.CONFIRMED
    assert fleet.current() == OLD


def test_a_rollback_to_what_never_ran_is_a_signed_order(project: Project) -> None:
    """Older than what ran, it is gone back to by an order; without one, or by one to another release, it is not, and the application is opened again."""
    never = project.lay(project.issued(NEW, counter=3), "ada", "bob")
    assert project.deploy(b"....TFL3 newer", "ada", "bob", counter=9).state is HostState.CONFIRMED
    alone = project.back(never.id, None, before=("echo closed >> log",), after=("echo opened >> log",))
    assert alone.state is HostState.FAILED
    assert f"expected a signed order to rollback {never.id}, found none; run ota rollback" in alone.reason
    assert (project.fleet.root("a") / "log").read_text() == "closed\nopened\n"
    other = project.back(never.id, lambda text: project.authority(text.replace(never.id.encode(), b"0" * 16)))
    assert "the signature of ada is not good for ota-order" in other.reason
    assert project.fleet.current() == b"....TFL3 newer"
    assert project.back(never.id, project.authority).state is HostState.CONFIRMED
    assert project.fleet.current() == NEW
    assert "one of 9 was confirmed" in project.deploy(b"....TFL3 older", "ada", "bob", counter=8).reason


def test_a_rollback_asks_for_no_key_where_the_device_does_not(project: Project) -> None:
    """What was confirmed here is gone back to without one."""

    def nobody(_: bytes) -> tuple[tuple[str, str], ...]:
        raise MissingFileError("no key is here")

    assert project.deploy(NEW, "ada", "bob").state is HostState.CONFIRMED
    assert project.back(project.fleet.release(OLD).id, nobody).state is HostState.CONFIRMED
    never = project.lay(project.issued(b"....TFL3 never"), "ada", "bob")
    outcome = project.back(never.id, nobody)
    assert (outcome.state, outcome.reason) == (HostState.FAILED, "no key is here")
    assert project.fleet.current() == OLD


def test_an_ordered_rollback_leads_the_device_to_the_newest_keyring(project: Project) -> None:
    """The key that signs the order may have joined since the device was last seen."""
    never = project.lay(project.issued(NEW), "ada", "bob")
    project.rotate("cleo", "ada", "bob")
    assert project.back(never.id, project.authority).state is HostState.CONFIRMED
    with project.fleet.connect(project.fleet.host("a")) as device:
        assert device.slot().keyring == 2


def test_an_older_counter_is_refused_before_a_byte_is_sent(project: Project) -> None:
    """What was never confirmed here is refused by its counter, equal ones follow one another, and the same content issued anew runs."""
    assert project.deploy(NEW, "ada", "bob", counter=7).state is HostState.CONFIRMED
    outcome = project.deploy(b"....TFL3 older", "ada", "bob", counter=6)
    assert (outcome.state, outcome.bytes_sent) == (HostState.FAILED, 0)
    assert "has the counter 6, and one of 7 was confirmed here" in outcome.reason
    assert "--reissue" in outcome.reason
    assert project.fleet.current() == NEW
    assert project.deploy(b"....TFL3 same", "ada", "bob", counter=7).state is HostState.CONFIRMED
    assert project.deploy(b"....TFL3 older", "ada", "bob", counter=8).state is HostState.CONFIRMED


def test_what_was_confirmed_here_may_come_back_and_lowers_no_counter(project: Project) -> None:
    """A deployment or a rollback of an older release that ran here is taken; it opens the way to no other older one."""
    assert project.deploy(b"....TFL3 first", "ada", "bob", counter=5).state is HostState.CONFIRMED
    assert project.deploy(NEW, "ada", "bob", counter=9).state is HostState.CONFIRMED
    assert project.fleet.rollback().state is HostState.CONFIRMED
    assert project.fleet.current() == b"....TFL3 first"
    assert "one of 9 was confirmed" in project.deploy(b"....TFL3 other", "ada", "bob", counter=8).reason
    assert project.deploy(NEW, "ada", "bob", counter=9).state is HostState.CONFIRMED
    assert project.deploy(b"....TFL3 first", "ada", "bob", counter=5).state is HostState.CONFIRMED


def test_a_counter_outlives_its_release(project: Project) -> None:
    """Pruning removes a release and not what was learnt from it; a release on trial teaches nothing."""
    assert project.deploy(NEW, "ada", "bob", counter=9).state is HostState.CONFIRMED
    assert project.fleet.rollback().state is HostState.CONFIRMED
    with project.fleet.connect(project.fleet.host("a")) as device:
        assert device.prune(1) == (project.issued(NEW, counter=9).id,)
    assert "one of 9 was confirmed" in project.deploy(b"....TFL3 other", "ada", "bob", counter=8).reason


def test_an_unsigned_counter_counts_for_nothing(fleet: Bench, tmp_path: Path) -> None:
    """Before the keyring anybody could say any counter: it does not shut out what is signed later."""
    folder = tmp_path / "keys"
    ring = SignedKeyring(keyring=a_ring(folder, "ada"), signatures=())
    project = Project(fleet=fleet, folder=folder, keyrings=[ring])
    forged = project.issued(OLD, counter=2**40)
    assert deploy_host(fleet.host("a"), fleet.order(forged), fleet.ends()).state is HostState.CONFIRMED
    project.provision()
    assert project.deploy(NEW, "ada", counter=3).state is HostState.CONFIRMED


def test_a_line_that_a_power_cut_cost_opens_no_way_back(project: Project) -> None:
    """Cut between the end of the trial and its line, the current release's own counter still counts."""
    assert project.deploy(NEW, "ada", "bob", counter=9).state is HostState.CONFIRMED
    journal = project.fleet.root("a") / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    assert "one of 9 was confirmed" in project.deploy(b"....TFL3 other", "ada", "bob", counter=8).reason


def test_another_class_of_device_is_refused(project: Project) -> None:
    """The device compares with its own architecture; its own among several is enough."""
    outcome = project.deploy(NEW, "ada", "bob", compatible=("armv9z", "sparc"))
    assert (outcome.state, outcome.bytes_sent) == (HostState.FAILED, 0)
    assert f"is for armv9z, sparc, this device is {platform.machine()}" in outcome.reason
    ours = (platform.machine(), "sparc")
    assert project.deploy(NEW, "ada", "bob", compatible=ours).state is HostState.CONFIRMED


def test_another_board_is_refused_before_a_byte_is_sent(project: Project) -> None:
    """With the way out; a device among those that were measured takes it, and so does any where the manifest names none."""
    outcome = project.deploy(NEW, "ada", "bob", boards=("Sparrow 3 Rev 1.1", "Robin"))
    assert (outcome.state, outcome.bytes_sent) == (HostState.FAILED, 0)
    with project.fleet.connect(project.fleet.host("a")) as device:
        here = device.facts().cpu_model
    assert f"was measured on Robin, Sparrow 3 Rev 1.1, this device is {here}" in outcome.reason
    assert "ota deploy --any-board" in outcome.reason
    assert project.deploy(NEW, "ada", "bob", boards=(here, "Robin")).state is HostState.CONFIRMED
    assert project.deploy(OLD, "ada", "bob", boards=()).state is HostState.CONFIRMED


def test_another_board_is_told_to_a_device_without_a_keyring_too(fleet: Bench, tmp_path: Path) -> None:
    """It has no room for what it may not run."""
    folder = tmp_path / "keys"
    ring = SignedKeyring(keyring=a_ring(folder, "ada"), signatures=())
    outcome = Project(fleet=fleet, folder=folder, keyrings=[ring]).deploy(NEW, "ada", boards=("Robin",))
    assert (outcome.state, outcome.bytes_sent) == (HostState.FAILED, 0)
    assert "was measured on Robin" in outcome.reason


@pytest.mark.parametrize("size", [0, len(NEW) - 1, len(NEW) + 1, 2**40])
def test_a_file_of_another_size_is_refused(project: Project, size: int) -> None:
    """A signed size that the file does not have is an error, with both sizes; nothing is built."""
    (artifact,) = project.fleet.release(NEW).manifest.artifacts
    lying = project.issued(NEW, artifacts=(replace(artifact, size_bytes=size),))
    with project.fleet.connect(project.fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, artifact.digest, project.fleet.blob(artifact.digest))
        with pytest.raises(RefusedError, match=f"expected {size} bytes, found {len(NEW)}") as refused:
            device.stage(lying, project.signatures(lying, "ada", "bob"))
        assert refused.value.code == "size"
    assert project.fleet.current() == OLD


def test_an_order_that_cannot_be_signed_leaves_the_application_open(project: Project) -> None:
    """The key goes away between the closing of the application and the order: the host fails with the reason, and the application is opened again."""

    def gone(_order: bytes) -> tuple[tuple[str, str], ...]:
        raise MissingFileError("the ssh-agent is gone")

    release = project.issued(NEW)
    order = replace(
        project.fleet.order(release, before=("touch closed",), after=("rm closed",)),
        signatures=project.signatures(release, "ada", "bob"),
        keyrings=tuple(project.keyrings),
        authority=gone,
    )
    outcome = deploy_host(project.fleet.host("a"), order, project.fleet.ends())
    assert (outcome.state, outcome.reason) == (HostState.FAILED, "the ssh-agent is gone")
    assert project.fleet.current() == OLD
    assert not (project.fleet.root("a") / "closed").exists()
