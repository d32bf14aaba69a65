"""The document of `ota key --json` keeps its schema, and its table says who signs and where the private halves are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from ota.core.keyring import Keyring, ReleaseKey
from ota.report.documents import plain
from ota.report.key_documents import KEY_DOCUMENTS, keyring_document, keyring_view

ROOT = Path(__file__).parent.parent.parent
ANN, BOB = (ReleaseKey.of_raw(name, bytes([number]) * 32) for number, name in enumerate(("ann", "bob")))
FIRST = Keyring(version=1, threshold=1, keys=(ANN, BOB))
HISTORY = [(FIRST, ()), (FIRST.without("bob"), ("ann",))]


def test_the_document_keeps_its_schema() -> None:
    """What --json prints validates against docs/schemas/key.json, which is what the script would write, and nothing more may stand in it."""
    path = ROOT / "scripts" / "write_schemas.py"
    spec = importlib.util.spec_from_file_location("write_schemas", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    schema = json.loads((ROOT / "docs" / "schemas" / "key.json").read_text())
    assert list(KEY_DOCUMENTS) == ["key"]
    assert schema == module.schema("key")
    document = json.loads(json.dumps(plain(keyring_document(HISTORY, {"ann": "agent"}))))
    jsonschema.validate(document, schema)
    assert document["keys"][0]["private"] == "agent"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "surprise": 1}, schema)


def test_the_table_fits_80_columns_and_says_who_signed() -> None:
    """Fingerprints are whole, what is not here is told, and the history stands below where there is one."""
    console = Console(width=80)
    with console.capture() as caught:
        console.print(keyring_view(keyring_document(HISTORY, {"ann": ""})))
    text = caught.get()
    assert "Keyring 2: 1 of 1 must sign" in text
    assert ANN.fingerprint in text
    assert [line.split() for line in text.splitlines()[-3:] if line.strip()][-1] == ["2", "1", "ann", "ann"]
    with console.capture() as caught:
        console.print(keyring_view(keyring_document(HISTORY[:1], {"ann": "file"})))
    assert "History" not in caught.get()
