"""Writes ota/core/operators_table.py and operators_forms.py: which operators, in which versions and forms, each build of the runtime loads.

Every cell (operator, version, build) is a file of one operator that was truly loaded: an Interpreter built and its tensors allocated. Only that counts
as known; a file that fails for whatever reason, or kills its process, does not. The table says from and up to which version, without a
gap, files load.

Run: python -m scripts.probe_operators [--folder .ota/probe] [--python /path/to/python3.9]...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ota.core.graph import CASTS, FILTER_SLOTS
from ota.quantize.graph_operators import TYPES
from scripts.one_operator import CUSTOM_OPERATORS, OPERATORS, VERSIONS, one_custom, one_operator, one_type
from scripts.operator_forms import forms
from scripts.probe_runtimes import BUILDS, Build, installed, load

_CORE = Path(__file__).parent.parent / "ota" / "core"
TABLE, FORMS = _CORE / "operators_table.py", _CORE / "operators_forms.py"
DEFAULT_FOLDER = Path(".ota") / "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One file. `kind` is operator (`detail` is the version), form (`detail` is the form), custom or type (no detail)."""

    kind: str
    name: str
    detail: int | str
    path: Path


def write_cells(folder: Path) -> tuple[Cell, ...]:
    """Write every file to try into `folder` and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    contents: list[tuple[tuple[str, str, int | str], bytes]] = [
        (("operator", name, version), one_operator(name, version))
        for name in OPERATORS
        for version in VERSIONS
    ]
    contents += [(("form", one.operator, one.form), one.content) for one in forms()]
    contents += [(("custom", name, ""), one_custom(name)) for name in CUSTOM_OPERATORS]
    contents += [(("type", name, ""), one_type(name)) for name in TYPES]
    cells = []
    for (kind, name, detail), content in contents:
        path = folder / f"{kind}-{name}-{detail}.tflite".replace(" ", "_")
        path.write_bytes(content)
        cells.append(Cell(kind=kind, name=name, detail=detail, path=path))
    return tuple(cells)


def span(found: Mapping[int, bool]) -> tuple[int, int]:
    """Return the first version that loads and the last one after it without a gap; (1, 0) where none loads."""
    first = min((version for version, loads in found.items() if loads), default=1)
    last = first - 1
    while found.get(last + 1):
        last += 1
    return (first, last)


Column = dict[tuple[str, str, int | str], bool]


def probe(build: Build, cells: Sequence[Cell], folder: Path, pythons: Sequence[str]) -> Column | None:
    """Return what one build knows; None, and a line on stderr, where it cannot be installed here."""
    python = installed(build, folder, pythons)
    if isinstance(python, str):
        print(f"{build.label}: not probed: {python}", file=sys.stderr)
        return None
    answers = load(python, [cell.path for cell in cells])
    for cell, answer in zip(cells, answers, strict=True):
        if answer.answer in {"failed", "died"} and cell.kind == "operator":
            print(
                f"{build.label}: {cell.name} {cell.detail}: {answer.answer}: {answer.reason}",
                file=sys.stderr,
            )
    return {(c.kind, c.name, c.detail): a.answer == "loads" for c, a in zip(cells, answers, strict=True)}


def rendered(columns: Mapping[str, Column]) -> str:
    """Return the text of the table's module."""
    labels = list(columns)
    spans = {
        name: [span({v: columns[label]["operator", name, v] for v in VERSIONS}) for label in labels]
        for name in sorted(OPERATORS)
    }
    versions = {name: tuple(last for _, last in found) for name, found in spans.items()}
    later = {name: max(first for first, _ in found) for name, found in spans.items()}
    custom = {name: _row(columns, "custom", name) for name in CUSTOM_OPERATORS}
    types = {name: _row(columns, "type", name) for name in TYPES}
    return "\n".join(
        (
            '"""Up to which version each build of the runtime loads each operator: made by scripts/probe_operators.py, not by hand."""',
            "",
            "from __future__ import annotations",
            "",
            "RUNTIMES: tuple[str, ...] = (",
            *(f'    "{label}",' for label in labels),
            ")",
            '"""The builds that were probed, the oldest first: the columns below."""',
            "",
            "VERSIONS: dict[str, tuple[int, ...]] = {",
            *(f'    "{name}": {row},' for name, row in versions.items()),
            "}",
            '"""Operator -> the highest version that loads, by build; 0: it does not know the operator."""',
            "",
            "FIRST_VERSIONS: dict[str, int] = {",
            *(f'    "{name}": {first},' for name, first in later.items() if first > 1),
            "}",
            '"""Operator -> the lowest version that loads, where that is not 1."""',
            "",
            "CUSTOM: dict[str, tuple[bool, ...]] = {",
            *(f'    "{name}": {row},' for name, row in custom.items() if any(row)),
            "}",
            '"""Custom operator -> whether the build brings it along."""',
            "",
            "TYPES: dict[str, tuple[bool, ...]] = {",
            *(f'    "{name}": {row},' for name, row in types.items()),
            "}",
            '"""Type of tensor -> whether the build loads a file that has one."""',
            "",
        )
    )


def rendered_forms(columns: Mapping[str, Column]) -> str:
    """Return the text of the module of the forms.

    Of operators without weights a form that no build loads is left out: that may be the fault of the tensors it was tried with.
    """
    rows: dict[str, dict[str, list[str]]] = {}
    for kind, name, form in sorted(next(iter(columns.values())), key=str):
        if kind != "form":
            continue
        pattern = "".join(str(int(column[kind, name, form])) for column in columns.values())
        if "1" in pattern or name in FILTER_SLOTS or name in CASTS:
            rows.setdefault(name, {}).setdefault(pattern, []).append(str(form))
    lines = []
    for name, patterns in rows.items():
        inside = ", ".join(
            f'"{pattern}": "{"; ".join(found)}"' for pattern, found in sorted(patterns.items(), reverse=True)
        )
        lines.append(f'    "{name}": {{{inside}}},')
    return "\n".join(
        (
            '"""In which forms each build of the runtime loads each operator: made by scripts/probe_operators.py, not by hand."""',
            "",
            "from __future__ import annotations",
            "",
            "# fmt: off",
            "FORMS: dict[str, dict[str, str]] = {",
            *lines,
            "}",
            "# fmt: on",
            '"""Operator -> for each pattern the forms (of `ota.core.graph.form_of`) it holds for; 1: loads, by build as in RUNTIMES."""',
            "",
        )
    )


def _row(columns: Mapping[str, Column], kind: str, name: str) -> tuple[bool, ...]:
    return tuple(column[kind, name, ""] for column in columns.values())


def main() -> None:
    """Probe every build that can be installed here and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where builds are installed once")
    parser.add_argument(
        "--python", action="append", default=[], help="an interpreter to use; may be repeated"
    )
    asked = parser.parse_args()
    cells = write_cells(asked.folder / "cells")
    columns = {}
    for build in BUILDS:
        column = probe(build, cells, asked.folder, asked.python)
        if column is not None:
            columns[build.label] = column
    if not columns:
        sys.exit("no build could be installed; the table is left as it is")
    TABLE.write_text(rendered(columns), encoding="utf-8")
    FORMS.write_text(rendered_forms(columns), encoding="utf-8")
    print(f"wrote {TABLE.name} and {FORMS.name}: {len(cells)} files x {len(columns)} builds")


if __name__ == "__main__":
    main()
