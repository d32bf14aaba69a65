"""Limiting a key in a home folder: what is written and how, where it is refused, and the way back."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ota.agent import policy, restrict
from ota.agent.dialogue import RefusedError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFr7pMGL534ITuJmvJjAdhgEL1NQgpCum+stHF4AGskz"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a key in it, and an agent beside it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    keys(tmp_path).write_text(f"{KEY} pi\n")
    (tmp_path / "agent.pyz").write_bytes(b"agent")
    return tmp_path


def keys(home: Path) -> Path:
    """Return the file of keys."""
    return home / ".ssh" / "authorized_keys"


def restriction(home: Path, may: policy.Policy | None = None) -> restrict.Restriction:
    """Return what one dialogue restricts with."""
    (home / "ota" / "agent").mkdir(parents=True, exist_ok=True)
    return restrict.Restriction(str(home / "ota"), str(home / "agent.pyz"), may)


def request(**changes: object) -> dict[str, Any]:
    """Return a request, parts of it changed."""
    roots = [{"root": "~/ota", "commands": ["b", "a", "b"]}, {"root": "/other", "commands": []}]
    return {"key": KEY, "in_use": True, "become": None, "roots": roots, "start": "0" * 64, **changes}


def test_policy_and_line_are_written_and_a_second_time_nothing(home: Path) -> None:
    """The line names the agent and a policy that holds each root with its commands; permissions stay; the same once more writes nothing."""
    keys(home).chmod(0o640)
    assert restriction(home).look(request())["changed"] is True
    assert keys(home).read_text() == f"{KEY} pi\n"
    done = restriction(home).apply(request())
    assert keys(home).read_text() == done["line"] + "\n"
    assert stat.S_IMODE(keys(home).stat().st_mode) == 0o640
    path = done["line"].split('"')[1].split()[-1]
    assert policy.read(path) == policy.Policy({str(home / "ota"): ["a", "b"], "/other": []}, "0" * 64, None)
    written = keys(home).stat()
    assert restriction(home).apply(request())["changed"] is False
    assert keys(home).stat() == written


def test_a_restricted_key_may_ask_for_what_it_has_and_for_nothing_else(home: Path) -> None:
    """Its own restriction is no change; one more command is refused, and so is another key."""
    done = restriction(home).apply(request())
    may = policy.read(done["line"].split('"')[1].split()[-1])
    assert restriction(home, may).apply(request())["changed"] is False
    before = keys(home).read_bytes()
    for changes in ({"roots": []}, {"key": KEY[:-1] + "A", "in_use": False}, {"start": "1" * 64}):
        with pytest.raises(RefusedError, match="another restriction than its own"):
            restriction(home, may).apply(request(**changes))
    assert keys(home).read_bytes() == before


def test_a_link_stays_a_link(home: Path) -> None:
    """Where the file is kept elsewhere, it is replaced there."""
    real = home / "kept"
    keys(home).rename(real)
    keys(home).symlink_to(real)
    done = restriction(home).apply(request())
    assert keys(home).is_symlink()
    assert real.read_text() == done["line"] + "\n"


@pytest.mark.parametrize("there", [True, False])
def test_what_was_there_is_put_back(there: bool, home: Path) -> None:
    """The dialogue that limited a key can undo that, once: the content and the permissions, or that there was no file."""
    keys(home).chmod(0o600)
    if not there:
        keys(home).unlink()
    limiting = restriction(home)
    limiting.apply(request(in_use=there))
    assert "restrict," in keys(home).read_text()
    limiting.undo()
    assert (keys(home).read_text() if there else keys(home).exists()) == (f"{KEY} pi\n" if there else False)
    with pytest.raises(RefusedError, match="has restricted nothing"):
        limiting.undo()


REFUSED = {
    "the key of this connection is not there": ({}, "", "sshd takes it from elsewhere"),
    "the key is in the other file too": ({".ssh/authorized_keys2": f"{KEY}\n"}, f"{KEY}\n", "is in .*authorized_keys2 too, without limits; remove it there"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_key_that_stays_open_elsewhere_is_refused(
    files: dict[str, str], content: str, message: str, home: Path
) -> None:
    """Where sshd would let the key in without limits all the same, nothing is written and the message says what to do."""
    keys(home).write_text(content)
    for name, text in files.items():
        (home / name).write_text(text)
    with pytest.raises(RefusedError, match=message):
        restriction(home).apply(request())
    assert keys(home).read_text() == content


def test_no_folder_of_keys(home: Path) -> None:
    """A home without `.ssh` is told, with the command that makes it."""
    keys(home).unlink()
    keys(home).parent.rmdir()
    with pytest.raises(RefusedError, match="make it: mkdir -m 700 "):
        restriction(home).apply(request(in_use=False))


def test_behind_sudo_the_file_is_that_of_whom_signed_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sudo says who signed in: the line goes through sudo, and the line of sudoers is for that user; without sudo it is refused."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    with pytest.raises(RefusedError, match="SUDO_USER"):
        restriction(home).look(request(become="root"))
    monkeypatch.setenv("SUDO_USER", "nobody")
    done = restriction(home).look(request(become="root", in_use=False))
    assert str(home) not in done["file"]
    assert done["file"].endswith("/.ssh/authorized_keys")
    assert '"sudo -n -H -u root -- ' in done["line"]
    assert done["sudoers"].startswith("nobody ALL=(root) NOPASSWD: ")
    assert (done["loose"] == "") is (os.geteuid() == 0 and not _loose(home))


def _loose(path: Path) -> bool:
    return any(one.stat().st_uid or one.stat().st_mode & 0o022 for one in (path, *path.parents))
