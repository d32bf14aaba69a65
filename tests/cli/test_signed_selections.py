"""Selections that are signed after the fact, and what the commands say of one that was changed since."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ota.cli.main import run
from ota.core.selection import Selection
from ota.errors import ExitCode
from ota.store import Store
from tests.report.selections import a_log, a_selection

ROOT = Path(__file__).parent.parent.parent
PLAYBOOK = "- name: p\n  hosts: all\n  model: {name: m, source: model.keras}\n"


@pytest.fixture
def selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Selection:
    """Return what the store of a project with a key and one device holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    Path("playbooks").mkdir()
    Path("playbooks/site.yaml").write_text(PLAYBOOK)
    device = {"ansible_connection": "local", "ota_root": str(tmp_path / "a")}
    Path("inventory.yaml").write_text(json.dumps({"all": {"hosts": {"a": device}}}))
    log = a_log()
    with Store.open(Path(".ota")) as store:
        made = a_selection(log, kept=store.put_log(log))
        store.save_selection(made)
    assert run(["key", "init"]) == ExitCode.DONE
    return made


def change(selection: Selection) -> None:
    """Have another objective stand in the record."""
    with sqlite3.connect(".ota/ota.db") as raw:
        changed = raw.execute(
            'UPDATE selections SET record = replace(record, \'"play":"p"\', \'"play":"q"\')'
        )
        assert changed.rowcount == 1
    raw.close()
    assert selection.play == "p"


def reported(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what the report says of the record's signatures."""
    capsys.readouterr()
    assert run(["report", "--format", "json", "--output", "-"]) == ExitCode.DONE
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((ROOT / "docs" / "schemas" / "select.json").read_text()))
    return document["selections"][0]["vouched"]


def test_a_selection_is_signed_after_the_fact(
    selection: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is unsigned, then signed; the report says which, in each form."""
    assert reported(capsys) == {"worth": "unsigned", "keys": []}
    assert run(["key", "sign", "--selection", selection.id[:8]]) == ExitCode.DONE
    said = capsys.readouterr()
    assert f"{selection.id}, play p" in said.out
    assert "signed by release" in said.err
    assert reported(capsys) == {"worth": "signed", "keys": ["release"]}
    for form in ("markdown", "html"):
        assert run(["report", "--format", form, "--output", "-"]) == ExitCode.DONE
        assert "The record is signed by release." in capsys.readouterr().out


def test_a_changed_record_is_not_deployed(selection: Selection, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 65 and what to do; the report and the verification say it too, and no device was asked."""
    assert run(["key", "sign", "--selection", selection.id]) == ExitCode.DONE
    change(selection)
    assert run(["deploy", "--selection", selection.id, "--check"]) == ExitCode.CONTENT
    said = " ".join(capsys.readouterr().err.split())
    assert f"the selection {selection.id} was changed after it was signed by release" in said
    assert not Path("a").exists()
    assert reported(capsys) == {"worth": "changed", "keys": ["release"]}
    assert run(["verify", "--json"]) == ExitCode.HOST_FAILED
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((ROOT / "docs" / "schemas" / "status.json").read_text()))
    (play,) = document["plays"]
    assert play["faults"] == [f"the selection {selection.id} was changed after it was signed by release"]
    assert run(["key", "sign", "--selection", selection.id]) == ExitCode.DONE
    assert reported(capsys)["worth"] == "signed"


def test_a_signature_that_was_taken_away_is_warned_of(
    selection: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deployment of what nobody signed says so and goes on; one that is signed says nothing."""
    assert run(["deploy", "--check"]) == ExitCode.DONE
    assert f"the selection {selection.id} is not signed" in " ".join(capsys.readouterr().err.split())
    assert run(["key", "sign", "--selection", selection.id]) == ExitCode.DONE
    assert run(["deploy", "--check"]) == ExitCode.DONE
    assert "not signed" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "expected a sheet, or --selection ID"),
        (["sheet.json", "--selection", "x"], "expected a sheet, or --selection ID"),
        (["--selection", "x"], "no selection has the id x"),
    ],
    ids=["nothing", "both", "unknown"],
)
def test_what_is_to_be_signed_is_named(
    selection: Selection, args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and it has to be there."""
    assert selection.id
    assert run(["key", "sign", *args]) == ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())
