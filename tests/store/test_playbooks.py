"""Playbooks that are kept as they were read: the same values come back, and only while nothing that decides them has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ota.core.playbook import Playbook
from ota.formats.playbook import load_playbook
from ota.store import playbooks
from ota.store.playbooks import KeptPlaybooks
from tests.formats.test_playbook import WHOLE

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def kept(tmp_path: Path) -> KeptPlaybooks:
    """A store's folder."""
    (tmp_path / ".ota").mkdir()
    return KeptPlaybooks(tmp_path / ".ota" / "playbooks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A playbook with every key."""
    (tmp_path / "site.yaml").write_text(WHOLE)
    return tmp_path / "site.yaml"


def read(kept: KeptPlaybooks, path: Path) -> Playbook:
    """Read a playbook and keep it."""
    book = load_playbook(path, files=False)
    kept.put(path, book)
    return book


def test_what_was_read_comes_back(kept: KeptPlaybooks, path: Path) -> None:
    """Every key's value, and of the playbook that is shipped too; what was never read is not there."""
    assert kept.get(path) is None
    book = read(kept, path)
    assert kept.get(path) == book
    assert repr(kept.get(path)) == repr(book)
    shipped = ROOT / "playbooks" / "site.yaml"
    assert read(kept, shipped) == kept.get(shipped)
    assert kept.get(path) == book


def test_a_change_of_a_byte_is_a_new_playbook(kept: KeptPlaybooks, path: Path) -> None:
    """Also where nothing else tells: its size and its time stay as they were."""
    read(kept, path)
    before = path.stat()
    path.write_text(WHOLE.replace("keep_releases: 4", "keep_releases: 5"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kept.get(path) is None
    assert read(kept, path).plays[0].deploy.keep_releases == 5
    path.unlink()
    assert kept.get(path) is None


def test_other_code_reads_anew(kept: KeptPlaybooks, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a playbook means is decided by code; another place is another playbook, for paths in it are of its folder."""
    read(kept, path)
    with monkeypatch.context() as patched:
        patched.setattr(playbooks, "_READERS", ("core", "formats", "deltas"))
        assert kept.get(path) is None
    assert kept.get(path) is not None
    moved = path.parent / "moved"
    moved.mkdir()
    (moved / "site.yaml").write_text(WHOLE)
    assert kept.get(moved / "site.yaml") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"of": 1}', b"null", b"\xff\xfe"])
def test_what_is_damaged_is_not_there(damage: bytes, kept: KeptPlaybooks, path: Path) -> None:
    """So is what is of another shape."""
    read(kept, path)
    (file,) = (path.parent / ".ota" / "playbooks").iterdir()
    whole = json.loads(file.read_bytes())
    file.write_bytes(damage)
    assert kept.get(path) is None
    whole["playbook"]["plays"][0]["deploy"]["serial"] = "many"
    file.write_text(json.dumps(whole))
    assert kept.get(path) is None


def test_nothing_is_kept_where_there_is_no_store(path: Path) -> None:
    """To read a playbook makes no folder."""
    nowhere = KeptPlaybooks(path.parent / "nothing" / "playbooks")
    read(nowhere, path)
    assert nowhere.get(path) is None
    assert not (path.parent / "nothing").exists()


def test_files_that_are_gone_are_told_at_their_place_all_the_same(path: Path) -> None:
    """A command that needs them reads the playbook again for it."""
    folder = path.parent
    (folder / ".ota").mkdir()
    (folder / "inventory.yaml").write_text(
        "all: {hosts: {a: {ansible_connection: local, ota_root: /no/where}}}"
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ota", *words, "site.yaml", "-i", "inventory.yaml"],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    run("rollback", "--check")
    (kept,) = (folder / ".ota" / "playbooks").iterdir()
    before = kept.read_bytes()
    done = run("select")
    assert done.returncode == 66, done.stderr
    assert "site.yaml:5:" in done.stderr
    assert "there is no" in done.stderr
    assert kept.read_bytes() == before
