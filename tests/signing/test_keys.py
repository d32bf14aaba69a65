"""Private release keys: files as OpenSSH makes them, never overwritten, never shown; an ssh-agent where there is no file."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ota.core.keyring import KEYRING_NAMESPACE, Keyring, ReleaseKey
from ota.errors import ContentError, MissingFileError, OtaError, UsageError
from ota.signing import sshsig
from ota.signing.keys import generate, read_public, sign_all, signed_by, signer
from tests.signing.programs import ssh_agent, ssh_keygen
from tests.signing.rings import a_ring, make, no_passphrase

PASSPHRASE = "correct horse"


def test_a_key_is_made_as_openssh_makes_it(tmp_path: Path) -> None:
    """The private half is 0600, ssh-keygen finds our public half in it, and the public file reads back as the key."""
    key = make(tmp_path / "keys", "ann")
    private, public = tmp_path / "keys" / "ann", tmp_path / "keys" / "ann.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    derived = subprocess.run([ssh_keygen(), "-y", "-f", private], capture_output=True, text=True, check=True)
    assert derived.stdout.split()[:2] == key.public.split()
    listed = subprocess.run([ssh_keygen(), "-lf", public], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[1] == key.fingerprint
    assert read_public(public) == key
    assert sorted(path.name for path in private.parent.iterdir()) == ["ann", "ann.pub"]


@pytest.mark.parametrize("there", ["ann", "ann.pub"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    """A file under either name, even a dangling link, is left as it is, and nothing is written beside it."""
    for lay in (lambda p: p.write_text("precious"), lambda p: p.symlink_to("nowhere")):
        lay(tmp_path / there)
        before = os.lstat(tmp_path / there)
        with pytest.raises(UsageError, match="a key is never overwritten"):
            make(tmp_path, "ann")
        assert os.lstat(tmp_path / there) == before
        assert [path.name for path in tmp_path.iterdir()] == [there]
        (tmp_path / there).unlink()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """A file in the folder's place is a usage error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a release key cannot be written"):
        make(tmp_path / "file" / "keys", "ann")


def test_a_passphrase_is_asked_for_and_needed(tmp_path: Path) -> None:
    """An encrypted key signs with its passphrase; a wrong one is told without being shown."""
    key = make(tmp_path, "ann", PASSPHRASE)
    found = signer(key, tmp_path, lambda name: PASSPHRASE if name == "ann" else "")
    assert sshsig.verify(sshsig.sign(found, "n", b"x"), "n", b"x", key)
    with pytest.raises(UsageError, match="the passphrase of the key ann is wrong") as caught:
        signer(key, tmp_path, lambda _: "hunter2")
    assert "hunter2" not in caught.value.render()
    assert signer(key, tmp_path, lambda _: PASSPHRASE).key == key


def test_no_secret_is_in_the_text_of_a_signer(tmp_path: Path) -> None:
    """What a log might show of a signer is its public half alone."""
    found = signer(make(tmp_path, "ann"), tmp_path, no_passphrase)
    assert "private" not in repr(found).lower()
    assert found.key.public in repr(found)
    assert "PRIVATE" not in repr(generate("ann"))


def _open_to_others(folder: Path) -> None:
    (folder / "ann").chmod(0o644)


def _garbage(folder: Path) -> None:
    (folder / "ann").write_text(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"
    )


def _anothers(folder: Path) -> None:
    make(folder / "other", "ann")
    (folder / "other" / "ann").replace(folder / "ann")


def _a_folder(folder: Path) -> None:
    (folder / "ann").unlink()
    (folder / "ann").mkdir()


FAULTS: dict[str, tuple[Callable[[Path], None], type[OtaError], str]] = {
    "others may read it": (_open_to_others, UsageError, "chmod 600"),
    "no key": (_garbage, ContentError, "not a private key in OpenSSH's format"),
    "another key": (_anothers, ContentError, "not the private half of the key ann"),
    "a folder": (_a_folder, MissingFileError, "a key cannot be read"),
}


@pytest.mark.parametrize(("spoil", "kind", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_a_file_that_is_no_good_is_told(
    spoil: Callable[[Path], None], kind: type[OtaError], said: str, tmp_path: Path
) -> None:
    """Each fault of a private key's file has its error, which quotes nothing of the file."""
    key = make(tmp_path, "ann")
    spoil(tmp_path)
    with pytest.raises(kind) as caught:
        signer(key, tmp_path, no_passphrase)
    assert said in caught.value.render()
    assert "c2VjcmV0" not in caught.value.render()


PUBLIC_FAULTS = {
    "private": ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "a private key is never added"),
    "rsa": ("ssh-rsa AAAAB3NzaC1yc2E= me\n", "not a key of the type ssh-ed25519"),
    "empty": ("", "not a key of the type ssh-ed25519"),
    "not ASCII": ("é", "not ASCII text"),
}


@pytest.mark.parametrize(("text", "said"), PUBLIC_FAULTS.values(), ids=PUBLIC_FAULTS.keys())
def test_a_public_file_that_is_no_good_is_told(text: str, said: str, tmp_path: Path) -> None:
    """What is added must be a public Ed25519 key."""
    (tmp_path / "bob.pub").write_text(text, encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        read_public(tmp_path / "bob.pub")
    assert said in caught.value.render()


def test_as_many_sign_as_must(tmp_path: Path) -> None:
    """The threshold of a keyring signs, whichever of its keys are here; too few are told by name."""
    ring = a_ring(tmp_path, "ann", "bob", "eve", threshold=2)
    text = ring.to_json().encode()
    (tmp_path / "ann").unlink()
    signatures = sign_all(ring, tmp_path, no_passphrase, KEYRING_NAMESPACE, text)
    assert [name for name, _ in signatures] == ["bob", "eve"]
    assert signed_by(ring, KEYRING_NAMESPACE, text, signatures) == ("bob", "eve")
    assert signed_by(ring, KEYRING_NAMESPACE, text + b" ", signatures) == ()
    (tmp_path / "bob").unlink()
    with pytest.raises(MissingFileError, match="too few of the release keys are here") as caught:
        sign_all(ring, tmp_path, no_passphrase, KEYRING_NAMESPACE, text)
    assert (caught.value.expected, caught.value.found) == ("2 of 3", "1, without ann, bob")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running ssh-agent that holds no key yet; yields the folder for keys."""
    program, _ = ssh_agent()
    socket = tmp_path / "agent.sock"
    with subprocess.Popen([program, "-D", "-a", str(socket)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it listens before it says where
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        yield tmp_path
        process.terminate()


def test_an_agent_signs_where_there_is_no_file(agent: Path) -> None:
    """A key that only the ssh-agent holds signs the same bytes as its file did; when the agent lets go of it, that is told."""
    ring = a_ring(agent, "ann")
    by_file = sign_all(ring, agent, no_passphrase, "n", b"x")
    _, add = ssh_agent()
    subprocess.run([add, "-q", str(agent / "ann")], check=True)
    (agent / "ann").unlink()
    held = signer(ring.key("ann"), agent, no_passphrase)
    assert ((("ann", sshsig.sign(held, "n", b"x")),)) == by_file
    subprocess.run([add, "-q", "-D"], check=True)
    with pytest.raises(UsageError, match="the ssh-agent did not sign with the key ann"):
        held.sign(b"x")
    with pytest.raises(MissingFileError, match="the private key ann is not here"):
        signer(ring.key("ann"), agent, no_passphrase)


def test_an_absent_agent_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an agent, or with a socket that nobody listens on, a key is simply not here."""
    ring = Keyring(version=1, threshold=1, keys=(ReleaseKey.of_raw("ann", b"\1" * 32),))
    for socket in ("", str(tmp_path / "nobody.sock")):
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        with pytest.raises(MissingFileError, match="the private key ann is not here"):
            signer(ring.key("ann"), tmp_path, no_passphrase)
