"""Releases that two people have to sign, through the real command line: the sheet between them, and what a device with their keyring takes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.remote import local
from ota.remote.device import Device
from ota.store.keyrings import Keyrings
from tests.cli.test_resume import HOSTS, ROOT, Project
from tests.signing.rings import make

ALL = dict.fromkeys(HOSTS, "confirmed")


@pytest.fixture
def people(tmp_path: Path) -> Project:
    """A project of ada, whose key is here, and bob, whose key is in `bob`; both have to sign; its devices trust their keyring and run version 1."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)
    project = Project(tmp_path)
    make(tmp_path / "bob", "bob")
    done = project.run("key", "init", "--name", "ada", "--add", "bob/bob.pub", "--threshold", "2")
    assert done.returncode == 0, done.stderr
    keyring = Keyrings(tmp_path / ".ota" / "keyrings").newest()
    assert keyring is not None
    for name in HOSTS:
        host = Host(name=name)
        transport = local.connect(host, Connection(kind="local", address="x"))
        with Device.open(host, transport, model="sorter", root=str(tmp_path / name)) as device:
            assert device.adopt(keyring)
    return project


def sheet(project: Project) -> str:
    """Return the path of the only sheet."""
    (path,) = (project.folder / ".ota" / "sheets").iterdir()
    return str(path.relative_to(project.folder))


def both(project: Project) -> None:
    """Put ada's key beside bob's."""
    there = project.folder / "bob" / "ada"
    there.write_bytes((project.folder / ".config" / "ota" / "keys" / "ada").read_bytes())
    there.chmod(0o600)


def test_a_second_person_signs_what_the_first_deploys(people: Project) -> None:
    """Ada's deployment waits for bob's signature and says how he gives it; then it runs, and once more changes nothing."""
    first = people.run("deploy", "--model", "v1.tflite")
    assert first.returncode == 66
    assert "too few of the release keys are here to sign" in first.stderr
    path = sheet(people)
    assert f"ota key sign {path}" in first.stderr
    again = people.run("key", "sign", path)
    assert (again.returncode, "signed by ada" in again.stderr) == (66, True)
    signed = people.run("key", "sign", path, "--keys", "bob")
    assert signed.returncode == 0, signed.stderr
    assert "signed by ada, bob: 2 of 2 that are needed" in signed.stderr
    assert json.loads(signed.stdout)["model"] == "sorter"
    assert people.states("deploy", "--model", "v1.tflite", code=0) == ALL
    assert people.deployed() == [1, 1, 1]
    second = json.loads(people.run("deploy", "--model", "v1.tflite", "--json").stdout)
    (rollout,) = second["rollouts"]
    assert [host["changed"] for host in rollout["hosts"]] == [False] * len(HOSTS)


def test_the_sheets_are_listed(people: Project) -> None:
    """With who has signed, before its release is deployed and after; a file that is none is told, and the rest is shown."""

    def shown() -> list[dict[str, object]]:
        document = json.loads(people.run("key", "show", "--json").stdout)
        jsonschema.validate(document, json.loads((ROOT / "docs" / "schemas" / "key.json").read_text()))
        return list(document["sheets"])

    assert shown() == []
    people.run("deploy", "--model", "v1.tflite")
    (one,) = shown()
    assert (one["path"], one["model"], one["signed_by"]) == (sheet(people), "sorter", ["ada"])
    people.run("key", "sign", sheet(people), "--keys", "bob")
    assert people.run("deploy", "--model", "v1.tflite").returncode == 0
    (one,) = shown()
    assert one["signed_by"] == ["ada", "bob"]
    text = " ".join(people.run("key", "show").stdout.split())
    assert "Sheets: releases that several people sign" in text
    assert "ada, bob: 2 of 2" in text
    late = json.dumps({"model": "sorter", "counter": 2**70})
    for name, manifest in (("no-manifest", "[]"), ("no-time", late)):
        sound = json.dumps({"format": 1, "manifest": manifest, "signatures": {}})
        (people.folder / ".ota" / "sheets" / f"{name}.json").write_text(sound)
    (people.folder / ".ota" / "sheets" / "no-sheet.json").write_text("{}")
    done = people.run("key", "show", "--json")
    assert len(json.loads(done.stdout)["sheets"]) == 1
    assert "no-sheet.json: not a sheet for signatures" in done.stderr
    assert "no-manifest.json holds no manifest" in done.stderr
    assert "no-time.json holds no manifest" in done.stderr


def test_a_sheet_that_was_altered_is_worth_nothing(people: Project) -> None:
    """Signatures over another manifest count for nothing, and what is no sheet is said to be none."""
    people.run("deploy", "--model", "v1.tflite")
    path = people.folder / sheet(people)
    people.run("key", "sign", str(path), "--keys", "bob")
    plain = json.loads(path.read_text())
    plain["signatures"]["bob"] = plain["signatures"]["ada"]
    path.write_text(json.dumps(plain))
    assert people.run("deploy", "--model", "v1.tflite").returncode == 66
    path.write_text("{}")
    done = people.run("key", "sign", str(path))
    assert (done.returncode, "not a sheet for signatures" in done.stderr) == (65, True)


def test_a_key_is_added(people: Project) -> None:
    """A third person's key comes by a keyring that too few may not sign."""
    make(people.folder / "eve", "eve")
    alone = people.run("key", "add", "eve/eve.pub")
    assert (alone.returncode, "too few of the release keys" in alone.stderr) == (66, True)
    both(people)
    done = people.run("key", "add", "eve/eve.pub", "--threshold", "3", "--keys", "bob", "--json")
    assert done.returncode == 0, done.stderr
    newest = Keyrings(people.folder / ".ota" / "keyrings").newest()
    assert newest is not None
    assert (newest.keyring.version, newest.keyring.threshold) == (2, 3)
    assert [key.name for key in newest.keyring.keys] == ["ada", "bob", "eve"]


def test_a_way_back_needs_no_key_and_a_release_anew_does(people: Project) -> None:
    """A rollback to what ran here is no order; the same file issued anew is another release, from then on the same."""
    both(people)
    for number in (1, 2):
        assert people.states("deploy", "--model", f"v{number}.tflite", "--keys", "bob", code=0) == ALL
    second = (people.folder / "a" / "current").readlink()
    assert people.states("rollback", code=0) == ALL
    assert people.deployed() == [1, 1, 1]
    assert people.states("deploy", "--model", "v2.tflite", "--keys", "bob", "--reissue", code=0) == ALL
    assert people.deployed() == [2, 2, 2]
    anew = (people.folder / "a" / "current").readlink()
    assert anew != second
    again = json.loads(people.run("deploy", "--model", "v2.tflite", "--keys", "bob", "--json").stdout)
    assert [host["changed"] for host in again["rollouts"][0]["hosts"]] == [False] * len(HOSTS)


def test_a_rollback_to_what_never_proved_itself_is_ordered(people: Project) -> None:
    """A release that failed its health check is gone back to by an order of one key, and by nothing where no key is here."""
    both(people)
    assert people.states("deploy", "--model", "v1.tflite", "--keys", "bob", code=0) == ALL
    (people.folder / "strict").touch()
    (people.folder / "a" / "unwell").touch()
    ended = people.states("deploy", "--model", "v2.tflite", "--keys", "bob", "--limit", "a", code=2)
    assert ended == {"a": "rolled_back"}
    (people.folder / "strict").unlink()
    held = {path.name for path in (people.folder / "a" / "releases").iterdir()}
    (failed,) = held - {(people.folder / "a" / "current").readlink().name}
    way = ("rollback", "--to", failed, "--limit", "a")
    alone = people.run(*way, "--keys", "nowhere")
    assert alone.returncode == 2
    assert "the private key bob is not here" in alone.stderr
    assert people.deployed() == [1, 1, 1]
    assert people.states(*way, code=0) == {"a": "confirmed"}
    assert people.deployed() == [2, 1, 1]
