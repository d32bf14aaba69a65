"""Writes docs/schemas/*.json from the types of `ota/report/documents.py`; a test holds that they are the same.

Run: python scripts/write_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ota.report.document_types import DOCUMENTS
from ota.report.graph_documents import GRAPH_DOCUMENTS
from ota.report.key_documents import KEY_DOCUMENTS
from ota.report.select_types import SELECT_DOCUMENTS

ALL = {**DOCUMENTS, **SELECT_DOCUMENTS, **GRAPH_DOCUMENTS, **KEY_DOCUMENTS}
FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one document; no key but the named ones may stand in it."""
    made = TypeAdapter(ALL[name]).json_schema()
    closed: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(made)}
    return closed


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items() if key != "title"}
    if "properties" in closed:
        closed["additionalProperties"] = False
    return closed


def main() -> None:
    """Write every schema."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ALL:
        text = json.dumps(schema(name), indent=2) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
