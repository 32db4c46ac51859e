"""Findings → problems: looks the places up, fills the lines in, sorts, keeps keys unseen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kling_batch.manifest.places import Spot, cell_column, lines, locate
from kling_batch.manifest.problems import Finding, Line, Path, Place, Problem, path_text
from kling_batch.manifest.secrets import hide_keys
from kling_batch.structs import dataclass, field


@dataclass(slots=True)
class Source:
    """A file that findings are about: its name, its bytes, and for a CSV where its rows start."""

    name: str
    data: bytes
    row_lines: list[int] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    prefix: Path = ()
    starts: dict[str, list[int]] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)

    def line(self, number: int) -> str:
        """The text of one line; for tables, which are asked for many."""
        if not self._lines:
            self._lines = self.data.decode("utf-8-sig", "replace").splitlines()
        return self._lines[number - 1] if number <= len(self._lines) else ""


def settle(
    findings: Iterable[Finding], main: Source, tables: Mapping[str, Source]
) -> list[Problem]:
    """The problems in the order of their places, the manifest's own first."""
    found = list(findings)
    needed = {f.path for f in found if not f.file and f.place is None}
    needed |= {
        part.path for f in found for part in f.said if isinstance(part, Line) and not part.file
    }
    spots = locate(main.data, needed, main.starts) if needed else {}
    placed = [(f, _place(f, spots, tables)) for f in found]
    shown = _lines(placed, spots, main, tables)
    problems = [_problem(f, place, spots, shown, main, tables) for f, place in placed]
    problems.sort(key=lambda p: (p.file != main.name, p.file, p.line, p.column))
    return problems


def _place(found: Finding, spots: Mapping[Path, Spot], tables: Mapping[str, Source]) -> Place:
    if found.place is not None:
        return found.place
    if found.file:
        return _cell(found.path, tables[found.file])
    spot, exact = _nearest(found.path, spots)
    if found.on_key and exact and spot.key is not None:
        return spot.key
    if not exact or (spot.key is not None and spot.value.span == 1 and spot.last > spot.value.line):
        # A value over many lines is best shown by its key.
        return spot.key or spot.value
    return spot.value


def _nearest(path: Path, spots: Mapping[Path, Spot]) -> tuple[Spot, bool]:
    for length in range(len(path), -1, -1):
        spot = spots.get(path[:length])
        if spot is not None:
            return spot, length == len(path)
    return Spot(None, Place(1, 1), 1, False), False


def _cell(path: Path, table: Source) -> Place:
    """The place of a CSV's cell; ``path`` is (…, row, key) or (…, row, "vars", column)."""
    rest = path[len(table.prefix) :]
    if not rest or not isinstance(rest[0], int) or rest[0] >= len(table.row_lines):
        return Place(1, 1)
    line = table.row_lines[rest[0]]
    if len(rest) == 1 or rest[-1] not in table.columns:
        return Place(line, 1)
    return Place(line, cell_column(table.line(line), table.columns.index(str(rest[-1]))))


Shown = dict[tuple[str, int], str]


def _lines(
    placed: list[tuple[Finding, Place]],
    spots: Mapping[Path, Spot],
    main: Source,
    tables: Mapping[str, Source],
) -> Shown:
    wanted: dict[str, set[int]] = {}
    for found, place in placed:
        numbers = wanted.setdefault(found.file, set())
        numbers.add(place.line)
        spot = spots.get(found.path)
        if (found.needle or found.row) and spot is not None and not found.file:
            numbers |= set(range(spot.value.line, min(spot.last, spot.value.line + 500) + 1))
    shown: Shown = {}
    for file, numbers in wanted.items():
        if file:
            shown.update(((file, number), tables[file].line(number)) for number in numbers)
        else:
            shown.update((("", number), text) for number, text in lines(main.data, numbers).items())
    return shown


def _problem(
    found: Finding,
    place: Place,
    spots: Mapping[Path, Spot],
    shown: Shown,
    main: Source,
    tables: Mapping[str, Source],
) -> Problem:
    if found.needle or found.row:
        place = _within(found, place, spots.get(found.path), shown)
    excerpt = shown.get((found.file, place.line), "")
    if found.secret:
        excerpt = excerpt[: place.column - 1 + place.span] + ": …"
    message = "".join(
        part if isinstance(part, str) else str(_line(part, spots, tables)) for part in found.said
    )
    return Problem(
        file=found.file or main.name,
        line=place.line,
        column=place.column,
        path=path_text(found.path),
        message=hide_keys(message),
        hint=hide_keys(found.hint),
        excerpt=hide_keys(excerpt),
        span=place.span,
    )


def _line(part: Line, spots: Mapping[Path, Spot], tables: Mapping[str, Source]) -> int:
    if part.file:
        return _cell(part.path, tables[part.file]).line
    spot, _ = _nearest(part.path, spots)
    return (spot.key or spot.value).line


def _within(found: Finding, place: Place, spot: Spot | None, shown: Shown) -> Place:
    """The place in the value's own lines: of the text that is meant, else of a template's line."""
    first, last = (spot.value.line, spot.last) if spot is not None else (place.line, place.line)
    if found.needle:
        word = re.compile(rf"(?<![\w.]){re.escape(found.needle)}(?!\w)")
        for number in range(first, last + 1):
            text = shown.get((found.file, number), "")
            start = spot.value.column - 1 if spot is not None and number == first else 0
            hit = word.search(text, start)
            if hit:
                return Place(number, hit.start() + 1, len(found.needle))
    if found.row and spot is not None and spot.literal:
        line = min(first + found.row, last)
        text = shown.get((found.file, line), "")
        indent = len(text) - len(text.lstrip())
        return Place(line, indent + 1, max(1, len(text.strip())))
    return place
