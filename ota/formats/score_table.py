"""A table of measurements that a person brings, as CSV, to rows that L can be computed from; every fault at once."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ota.core.metric import Metric, metric_named
from ota.core.score import TableRow
from ota.core.terms import Figures
from ota.errors import ContentError, Fault, MissingFileError

_REQUIRED = ("scheme", "size_bytes", "latency_ms")
_QUALITY = {"accuracy": "accuracy", "error": "mse"}
_KNOWN = (*_REQUIRED, *_QUALITY, "transfer_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """The rows, and the metric that their quality is measured by: accuracy, or an error."""

    rows: tuple[TableRow, ...]
    metric: Metric


def read_score_table(path: Path) -> ScoreTable:
    """Return the table at `path`: columns scheme, size_bytes, latency_ms, accuracy or error, and perhaps transfer_s, in any order.

    Raises:
        MissingFileError: it cannot be read.
        ContentError: it is no such table; carries every fault.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise MissingFileError(
            "the table cannot be read", where=str(path), found=error.strerror or ""
        ) from error
    except UnicodeDecodeError as error:
        raise ContentError(Fault(file=str(path), problem=f"not UTF-8: {error.reason}")) from error
    table = [
        (number, row) for number, row in enumerate(csv.reader(lines), 1) if any(cell.strip() for cell in row)
    ]
    if not table:
        raise ContentError(
            Fault(file=str(path), problem=f"an empty table: expected the columns {', '.join(_KNOWN)}")
        )
    header_line, header = table[0]
    names = [name.strip() for name in header]
    faults = _header_faults(str(path), header_line, names)
    if faults:
        raise ContentError(*faults)
    quality = next(name for name in _QUALITY if name in names)
    rows = []
    for number, cells in table[1:]:
        row = _row(str(path), number, names, cells, quality, faults)
        if row is not None:
            rows.append(row)
    if not faults and not rows:
        faults.append(
            Fault(
                file=str(path), problem="no rows: expected the baseline in the first and the others below it"
            )
        )
    if faults:
        raise ContentError(*faults)
    return ScoreTable(rows=tuple(rows), metric=metric_named(_QUALITY[quality]))


def _header_faults(file: str, line: int, names: Sequence[str]) -> list[Fault]:
    faults = []
    for column, name in enumerate(names, 1):
        if name not in _KNOWN:
            close = get_close_matches(name, _KNOWN, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_KNOWN)}"
            faults.append(
                Fault(file=file, line=line, column=column, problem=f"unknown column {name!r}", hint=hint)
            )
        elif names.index(name) < column - 1:
            faults.append(Fault(file=file, line=line, column=column, problem=f"a second column {name!r}"))
    faults += [
        Fault(file=file, line=line, problem=f"the column {name!r} is missing")
        for name in _REQUIRED
        if name not in names
    ]
    if sum(name in names for name in _QUALITY) != 1:
        faults.append(Fault(file=file, line=line, problem="expected one of the columns accuracy and error"))
    return faults


def _row(
    file: str, line: int, names: Sequence[str], cells: Sequence[str], quality: str, faults: list[Fault]
) -> TableRow | None:
    if len(cells) != len(names):
        faults.append(Fault(file=file, line=line, problem=f"expected {len(names)} cells, found {len(cells)}"))
        return None
    numbers: dict[str, float | None] = {}
    for column, (name, cell) in enumerate(zip(names, cells, strict=True), 1):
        if name == "scheme":
            continue
        text = cell.strip()
        number = _number(text)
        if number is None and not (name == "transfer_s" and not text):
            faults.append(
                Fault(
                    file=file,
                    line=line,
                    column=column,
                    problem=f"{name}: expected a number from 0, found {text!r}",
                )
            )
            return None
        numbers[name] = number
    return TableRow(
        scheme=cells[list(names).index("scheme")].strip(),
        figures=Figures(
            size_bytes=numbers["size_bytes"] or 0.0,
            latency_ms=numbers["latency_ms"] or 0.0,
            quality=numbers[quality] or 0.0,
            transfer_s=numbers.get("transfer_s"),
        ),
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
