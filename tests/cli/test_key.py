"""`ota key`: keys are made and never overwritten, each keyring is signed by the one before, and a device takes them one after the other."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ota.agent import trust
from ota.cli.key import PASSPHRASE_VARIABLE
from ota.cli.main import run
from ota.errors import ExitCode
from ota.store.keyrings import Keyrings
from tests.signing.programs import ssh_keygen
from tests.signing.rings import make

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, and a home of its own; no ssh-agent."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The folder in which keys lie unless another is named."""
    return tmp_path / "home" / ".config" / "ota" / "keys"


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `ota key show --json` prints, held against its schema."""
    capsys.readouterr()
    assert run(["key", "show", "--json"]) == ExitCode.DONE
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(shown, json.loads((ROOT / "docs" / "schemas" / "key.json").read_text()))
    return shown


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_init_makes_a_key_and_the_first_keyring(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command: a private key of mode 0600 in the user's own folder, and keyring 1 with its public half."""
    assert run(["key", "init"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert "Keyring 1: 1 of 1 must sign" in said.out
    assert "keep a copy in a safe place" in said.err
    assert stat.S_IMODE((keys / "release").stat().st_mode) == 0o600
    shown = document(capsys)
    assert (shown["version"], shown["threshold"], shown["history"][0]["signed_by"]) == (1, 1, [])
    (key,) = shown["keys"]
    assert (key["name"], key["private"]) == ("release", "file")
    assert (keys / "release.pub").read_text() == f"{key['public']} release\n"


def test_others_keys_are_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--add takes public key files, even those of ssh-keygen; their private halves are not here."""
    subprocess.run(
        [ssh_keygen(), "-q", "-t", "ed25519", "-N", "", "-C", "bob at work", "-f", tmp_path / "bob"],
        check=True,
    )
    (tmp_path / "bob").unlink()
    assert run(["key", "init", "--name", "ann", "--add", str(tmp_path / "bob.pub"), "--threshold", "2"]) == 0
    shown = document(capsys)
    assert [(key["name"], key["private"]) for key in shown["keys"]] == [("ann", "file"), ("bob", None)]
    assert shown["threshold"] == 2


def test_a_device_is_led_through_every_keyring(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After rotations and a revocation each keyring is signed by the one before, and a device takes them in order and in no other."""
    make(tmp_path, "bob")
    assert run(["key", "init", "--add", str(tmp_path / "bob.pub")]) == ExitCode.DONE
    assert run(["key", "rotate", "release", "--json"]) == ExitCode.DONE
    assert run(["key", "rotate", "release-2"]) == ExitCode.DONE
    assert run(["key", "revoke", "bob"]) == ExitCode.DONE
    shown = document(capsys)
    assert [ring["keys"] for ring in shown["history"]] == [
        ["bob", "release"], ["bob", "release-2"], ["bob", "release-3"], ["release-3"]
    ]  # fmt: skip
    assert [ring["signed_by"] for ring in shown["history"]] == [[], ["release"], ["release-2"], ["release-3"]]
    assert sorted(path.name for path in keys.iterdir() if path.suffix != ".pub") == [
        "release", "release-2", "release-3"
    ]  # fmt: skip
    root = str(tmp_path / "device")
    rings = [
        (signed.keyring.to_json(), dict(signed.signatures))
        for signed in Keyrings(Path(".ota/keyrings")).after(0)
    ]
    assert trust.adopt(root, *rings[0])
    with pytest.raises(trust.RefusedError, match="keyring 3 does not follow keyring 1"):
        trust.adopt(root, *rings[2])
    assert all(trust.adopt(root, *ring) for ring in rings[1:])
    assert run(["key", "show"]) == ExitCode.DONE
    assert "Keyring 4: 1 of 1 must sign" in capsys.readouterr().out


def test_anothers_new_key_takes_the_place_of_the_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--with replaces a key by one whose private half was made elsewhere."""
    make(tmp_path, "bob")
    make(tmp_path, "bob-2")
    assert run(["key", "init", "--add", str(tmp_path / "bob.pub")]) == ExitCode.DONE
    assert run(["key", "rotate", "bob", "--with", str(tmp_path / "bob-2.pub")]) == ExitCode.DONE
    assert [(key["name"], key["private"]) for key in document(capsys)["keys"]] == [
        ("bob-2", None), ("release", "file")
    ]  # fmt: skip


def test_a_passphrase_comes_from_the_environment(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encrypted key signs with it; without it, or with a wrong one, nothing is changed and nothing is shown."""
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    assert run(["key", "init", "--passphrase"]) == ExitCode.DONE
    assert run(["key", "rotate", "release", "--passphrase"]) == ExitCode.DONE
    before = files(keys) | files(Path(".ota"))
    for wrong, words in (
        ("hunter2", "the passphrase of the key release-2 is wrong"),
        (None, "has a passphrase"),
    ):
        if wrong is None:
            monkeypatch.delenv(PASSPHRASE_VARIABLE)
        else:
            monkeypatch.setenv(PASSPHRASE_VARIABLE, wrong)
        capsys.readouterr()
        assert run(["key", "rotate", "release-2"]) == ExitCode.USAGE
        said = capsys.readouterr()
        assert words in said.err
        assert "hunter2" not in said.err + said.out
    assert files(keys) | files(Path(".ota")) == before
    derive = [ssh_keygen(), "-y", "-f", keys / "release-2", "-P"]
    assert subprocess.run([*derive, ""], capture_output=True, check=False).returncode != 0
    assert subprocess.run([*derive, "correct horse"], capture_output=True, check=False).returncode == 0


def _there(keys: Path) -> None:
    keys.mkdir(parents=True)
    (keys / "release").write_text("precious")


def _file_for_keys(keys: Path) -> None:
    keys.parent.mkdir(parents=True)
    keys.write_text("")


def _public(keys: Path) -> None:
    make(keys.parent, "bob")
    Path("private.pub").write_text((keys.parent / "bob").read_text())
    Path("release.pub").write_text((keys.parent / "bob.pub").read_text())


def _nothing(_keys: Path) -> None:
    pass


INIT_FAULTS: dict[str, tuple[Callable[[Path], None], list[str], ExitCode, str]] = {
    "a key is there": (_there, [], ExitCode.USAGE, "a key is never overwritten"),
    "the keys' folder is a file": (_file_for_keys, [], ExitCode.USAGE, "cannot be written"),
    "a name that is none": (_nothing, ["--name", "../x"], ExitCode.USAGE, "not a name for a key"),
    "a threshold that cannot be met": (_nothing, ["--threshold", "2"], ExitCode.USAGE, "1 keys cannot meet a threshold of 2"),
    "a file that is not there": (_nothing, ["--add", "bob.pub"], ExitCode.MISSING, "bob.pub"),
    "a private key": (_public, ["--add", "private.pub"], ExitCode.CONTENT, "a private key is never added"),
    "a name twice": (_public, ["--add", "release.pub"], ExitCode.USAGE, "the name release is in the keyring twice"),
    "nobody to ask": (_nothing, ["--passphrase"], ExitCode.USAGE, PASSPHRASE_VARIABLE),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "args", "code", "said"), INIT_FAULTS.values(), ids=INIT_FAULTS.keys())
def test_a_fault_of_init_leaves_everything_as_it_was(
    spoil: Callable[[Path], None],
    args: list[str],
    code: ExitCode,
    said: str,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One message, its exit code, nothing on stdout, and no file made or changed."""
    spoil(keys)
    before = files(tmp_path)
    assert run(["key", "init", *args]) == code
    caught = capsys.readouterr()
    assert said in caught.err
    assert caught.out == ""
    assert files(tmp_path) == before


def test_a_store_that_cannot_be_written_is_told(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the store's place is a usage error, and no key is made in vain."""
    Path(".ota").write_text("")
    assert run(["key", "init"]) == ExitCode.USAGE
    assert "a keyring cannot be written" in capsys.readouterr().err
    assert not keys.exists()


LATER_FAULTS: dict[str, tuple[list[str], ExitCode, str]] = {
    "a second init": (["init", "--name", "x"], ExitCode.USAGE, "this project has a keyring already"),
    "rotate an unknown key": (["rotate", "x"], ExitCode.USAGE, "no key is called 'x'; there are: release"),
    "revoke an unknown key": (["revoke", "x"], ExitCode.USAGE, "no key is called 'x'"),
    "revoke the last key": (["revoke", "release"], ExitCode.USAGE, "too few would be left to sign"),
    "rotate to a key that is there": (
        ["rotate", "release", "--name", "release"],
        ExitCode.USAGE,
        "a key is never overwritten",
    ),
    "rotate without the key": (
        ["rotate", "release", "--keys", "nowhere"],
        ExitCode.MISSING,
        "too few of the release keys are here to sign",
    ),
    "rotate to two things": (["rotate", "release", "--with", "f", "--name", "n"], ExitCode.USAGE, "--with"),
}


@pytest.mark.parametrize(("args", "code", "said"), LATER_FAULTS.values(), ids=LATER_FAULTS.keys())
def test_a_later_fault_leaves_everything_as_it_was(
    args: list[str], code: ExitCode, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, its exit code, and neither keys nor keyrings are touched."""
    assert run(["key", "init"]) == ExitCode.DONE
    before = files(tmp_path)
    capsys.readouterr()
    assert run(["key", *args]) == code
    caught = capsys.readouterr()
    assert said in caught.err
    assert caught.out == ""
    assert files(tmp_path) == before


@pytest.mark.parametrize("args", [["rotate", "a"], ["revoke", "a"], ["show"]], ids=" ".join)
def test_without_a_keyring_that_is_told(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The command that makes one is named."""
    assert run(["key", *args]) == ExitCode.MISSING
    assert "ota key init makes one" in capsys.readouterr().err


def test_a_keyring_that_nobody_signed_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a stored keyring lost its signatures, show says which and does not end with 0."""
    assert run(["key", "init"]) == ExitCode.DONE
    assert run(["key", "rotate", "release"]) == ExitCode.DONE
    Path(".ota/keyrings/2.signatures.json").write_text("{}")
    capsys.readouterr()
    assert run(["key", "show"]) == ExitCode.CONTENT
    assert "signed by 0 keys of the keyring before, not by 1" in capsys.readouterr().err


def test_the_private_key_is_in_its_file_alone(keys: Path) -> None:
    """The private key's text is in its own file alone."""
    assert run(["key", "init"]) == ExitCode.DONE
    secret = (keys / "release").read_bytes().splitlines()[3]
    holders = [path for root in (keys.parent, Path(".ota")) for path in root.rglob("*") if path.is_file()]
    assert [path for path in holders if secret in path.read_bytes()] == [keys / "release"]
    assert secret.decode() not in os.environ.values()
