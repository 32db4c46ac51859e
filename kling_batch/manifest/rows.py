"""CSV text → pairs: a column named like a pair's key sets it, every other one is a variable."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from kling_batch.manifest.inputs import KINDS
from kling_batch.manifest.nearest import nearest
from kling_batch.manifest.problems import Finding, Path, Place
from kling_batch.structs import dataclass

_WHOLE = re.compile(r"[-+]?[0-9]{1,18}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NUMBERS = frozenset({"takes", "duration_seconds"})


@dataclass(slots=True)
class Rows:
    """A CSV's pairs, the line that each starts at, and the columns in their order."""

    pairs: list[dict[str, Any]]
    lines: list[int]
    columns: list[str]
    findings: list[Finding]


def read_rows(data: bytes, file: str, path: Path, keys: frozenset[str]) -> Rows:
    """The pairs in this CSV (comma, UTF-8 with or without a BOM; cells are text, never formulas).

    ``keys`` are a pair's keys, ``path`` is what problems' paths start with. An empty cell is a
    setting that is not given.
    """
    rows = Rows([], [], [], [])
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        rows.findings.append(_at(path, file, line, "this file holds a NUL: it is not a CSV"))
        return rows
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        _read(reader, rows, file, path, keys)
    except csv.Error as error:
        hint = "close every quote; a quote within a quoted cell is written twice"
        rows.findings.append(_at(path, file, max(1, reader.line_num), f"{error}", hint))
    except UnicodeDecodeError:
        rows.findings.append(_at(path, file, reader.line_num + 1, "this file is not UTF-8 text"))
    return rows


def _read(reader: Any, rows: Rows, file: str, path: Path, keys: frozenset[str]) -> None:
    header = next(reader, None)
    if not header or not any(cell.strip() for cell in header):
        rows.findings.append(
            _at(path, file, 1, "this CSV has no header", "the first line names the columns")
        )
        return
    rows.columns = [name.strip() for name in header]
    rows.findings += _header(rows.columns, file, path, keys)
    if rows.findings:
        return
    shared: dict[str, str] = {}
    start = reader.line_num + 1
    for cells in reader:
        if any(cells):
            if len(cells) > len(rows.columns):
                said = f"{len(cells)} cells, but the header names {len(rows.columns)} columns"
                hint = "a cell that holds a comma needs quotes"
                rows.findings.append(_at((*path, len(rows.pairs)), file, start, said, hint))
            rows.pairs.append(_pair(cells, rows.columns, keys, shared))
            rows.lines.append(start)
        start = reader.line_num + 1


def _pair(
    cells: Sequence[str], columns: list[str], keys: frozenset[str], shared: dict[str, str]
) -> dict[str, Any]:
    pair: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=False):
        text = cell.strip()
        if not text:
            continue
        if column not in keys:
            variables[column] = shared.setdefault(text, text)
        elif column in _NUMBERS and _WHOLE.match(text):
            pair[column] = int(text)
        else:
            pair[column] = shared.setdefault(text, text)
    if variables:
        pair["vars"] = variables
    return pair


def _header(columns: list[str], file: str, path: Path, keys: frozenset[str]) -> list[Finding]:
    findings = []
    for index, column in enumerate(columns):
        if column in columns[:index]:
            said, hint = f"the column `{column}` stands twice", "remove or rename one of them"
        elif column in keys or (column != "vars" and _VARIABLE.match(column)):
            continue
        elif not column:
            said, hint = (
                f"column {index + 1} has no name",
                "remove it, or name it in the first line",
            )
        elif ";" in column or "\t" in column:
            said, hint = "the columns are not parted by commas", "save the file with commas"
        else:
            said = f"the column `{column[:60]}` can't be a variable's name"
            hint = "letters, digits and _ only, not starting with a digit; not `vars`"
        place = _place(columns, index)
        findings.append(Finding((*path, column), (said,), hint, file=file, place=place))
    variables = [column for column in columns if column not in keys]
    for kind in KINDS if not findings else ():
        if kind not in columns:
            near = nearest(kind, variables)
            hint = f"did you mean it by `{near}`?" if near else f"add a column `{kind}`"
            place = _place(columns, columns.index(near) if near else 0)
            said = f"there is no column `{kind}`"
            findings.append(Finding((*path, near or kind), (said,), hint, file=file, place=place))
    return findings


def _place(columns: list[str], index: int) -> Place:
    return Place(1, 1 + sum(len(name) + 1 for name in columns[:index]), max(1, len(columns[index])))


def _at(path: Path, file: str, line: int, said: str, hint: str = "") -> Finding:
    return Finding(path, (said,), hint, file=file, place=Place(line, 1))
