"""Paths → places: finds the line and column again of the few values that are wrong."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import yaml
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from kling_batch.manifest.document import (
    Event,
    breaks_lines_at_newlines_only,
    events,
    place_of,
)
from kling_batch.manifest.problems import Path, Place
from kling_batch.structs import dataclass

_Trie = dict[str | int, "_Trie"]
_OPENING = (MappingStartEvent, SequenceStartEvent)
_CLOSING = (MappingEndEvent, SequenceEndEvent)


@dataclass(frozen=True, slots=True)
class Spot:
    """A key (if it has one) and its value; ``last`` is the value's last line."""

    key: Place | None
    value: Place
    last: int
    literal: bool


Starts = Mapping[str, Sequence[int]]


def locate(data: bytes, paths: Iterable[Path], starts: Starts | None = None) -> dict[Path, Spot]:
    """Where these paths stand. A path that leads nowhere is left out, its parents are there.

    ``starts`` are the lines of list items (Document.starts): items known there are parsed by
    themselves, so that the places of a few cost nothing of the many.
    """
    rest: set[Path] = set()
    items: dict[tuple[str, int], set[Path]] = {}
    known = starts if starts and breaks_lines_at_newlines_only(data) else {}
    for path in paths:
        if (
            len(path) > 1
            and isinstance(path[1], int)
            and path[1] < len(known.get(str(path[0]), ()))
        ):
            items.setdefault((str(path[0]), path[1]), set()).add(path)
        else:
            rest.add(path)
    spots = _locate_items(data, items, known)
    rest |= {path for wanted in items.values() for path in wanted if path[:2] not in spots}
    if rest:
        spots.update(_find(data, rest, (), 0))
    return spots


def _locate_items(
    data: bytes, items: Mapping[tuple[str, int], set[Path]], starts: Starts
) -> dict[Path, Spot]:
    spots: dict[Path, Spot] = {}
    line = offset = 0
    for (section, index), paths in sorted(items.items(), key=lambda i: starts[i[0][0]][i[0][1]]):
        lines_of = starts[section]
        while line < lines_of[index]:
            offset = data.index(b"\n", offset) + 1
            line += 1
        if index + 1 < len(lines_of):
            end, stop = offset, line
            while stop < lines_of[index + 1]:
                end = data.index(b"\n", end) + 1
                stop += 1
            spots.update(_find(data[offset:end], paths, (section, index), line))
    return spots


def _find(data: bytes, paths: Iterable[Path], base: Path, line: int) -> dict[Path, Spot]:
    """Where the paths stand in this text: a whole document, or the list item at ``base``."""
    wanted: _Trie = {}
    for path in paths:
        branch = wanted
        for part in path[len(base) :]:
            branch = branch.setdefault(part, {})
    finder = _Finder(events(data), base, line)
    with contextlib.suppress(yaml.YAMLError):  # what stands after one has no place
        finder.find(wanted)
    return finder.spots


def lines(data: bytes, wanted: set[int]) -> dict[int, str]:
    """The text of these lines, counted from 1, without their ends."""
    found: dict[int, str] = {}
    if not wanted:
        return found
    last = max(wanted)
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace")
    for number, line in enumerate(text, 1):
        if number in wanted:
            found[number] = line.rstrip("\n")
        if number >= last:
            break
    return found


@dataclass(slots=True)
class _Node:
    """A composed value: only anchored ones and the wanted ones are."""

    start: Event
    end: Event
    pairs: list[tuple[_Node, _Node]]
    items: list[_Node]


class _Finder:
    def __init__(self, get: Callable[[], Event], base: Path, line: int) -> None:
        self._get = get
        self._base = base
        self._line = line
        self._anchors: dict[str, _Node] = {}
        self.spots: dict[Path, Spot] = {}

    def find(self, wanted: _Trie) -> None:
        self._get()
        self._get()
        first = self._get()
        if self._base and isinstance(first, SequenceStartEvent):
            first = self._get()
        if isinstance(first, (ScalarEvent, *_OPENING)):
            self._stream(first, wanted, self._base, None)

    def _stream(self, event: Event, wanted: _Trie | None, path: Path, key: Place | None) -> None:
        """Walk over a value without keeping it; only what is wanted or anchored is composed."""
        if wanted is None and event.anchor is None:
            self._skip(event)
        elif wanted is None or len(path) > 1 or event.anchor is not None:
            node = self._compose(event)
            if wanted is not None:
                self._walk(node, wanted, path, key)
        elif isinstance(event, MappingStartEvent):
            self._note(event, event, path, key)
            self._stream_mapping(wanted, path)
        elif isinstance(event, SequenceStartEvent):
            self._note(event, event, path, key)
            self._stream_sequence(wanted, path)
        else:
            self._walk(self._compose(event), wanted, path, key)

    def _stream_mapping(self, wanted: _Trie, path: Path) -> None:
        left = set(wanted)
        while left or path:
            event = self._get()
            if isinstance(event, MappingEndEvent):
                return
            key = self._compose(event).start
            name = getattr(key, "value", None)
            branch = wanted.get(name) if isinstance(name, str) else None
            value = self._get()
            if name == "<<" and wanted:
                self._walk_merge(self._compose(value), wanted, path, left)
                continue
            left.discard(name)
            here = path if name is None else (*path, name)
            self._stream(value, branch, here, self._place(key))

    def _stream_sequence(self, wanted: _Trie, path: Path) -> None:
        index = 0
        while not isinstance(event := self._get(), SequenceEndEvent):
            self._stream(event, wanted.get(index), (*path, index), None)
            index += 1

    def _skip(self, event: Event) -> None:
        # The hot loop of a large manifest with few mistakes.
        get, depth = self._get, 0
        while True:
            kind = type(event)
            if kind is ScalarEvent:
                if event.anchor is not None:
                    self._compose(event)
            elif kind in _CLOSING:
                depth -= 1
            elif kind is not AliasEvent:
                if event.anchor is not None:
                    self._compose(event)
                else:
                    depth += 1
            if depth == 0:
                return
            event = get()

    def _compose(self, event: Event) -> _Node:
        if isinstance(event, AliasEvent):
            known = self._anchors.get(str(event.anchor))
            return known if known is not None else _Node(event, event, [], [])
        node = _Node(event, event, [], [])
        if isinstance(event, MappingStartEvent):
            while not isinstance(inner := self._get(), MappingEndEvent):
                key = self._compose(inner)
                node.pairs.append((key, self._compose(self._get())))
        elif isinstance(event, SequenceStartEvent):
            while not isinstance(inner := self._get(), SequenceEndEvent):
                node.items.append(self._compose(inner))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _walk(self, node: _Node, wanted: _Trie, path: Path, key: Place | None) -> None:
        self._note(node.start, node.end, path, key)
        if not wanted:
            return
        left = set(wanted)
        merges = []
        for key_node, value in node.pairs:
            name = getattr(key_node.start, "value", None)
            if name == "<<":
                merges.append(value)
            elif name in left:
                left.discard(name)
                self._walk(value, wanted[name], (*path, name), self._place(key_node.start))
        for merge in merges:
            self._walk_merge(merge, wanted, path, left)
        for index in left:
            if isinstance(index, int) and index < len(node.items):
                self._walk(node.items[index], wanted[index], (*path, index), None)

    def _walk_merge(self, merge: _Node, wanted: _Trie, path: Path, left: set[str | int]) -> None:
        kept = self.spots.get(path)
        for node in merge.items or [merge]:
            still = {name: wanted[name] for name in left}
            self._walk(node, still, path, None)
            left -= {getattr(key.start, "value", None) for key, _ in node.pairs}
        if kept is not None:
            self.spots[path] = kept

    def _note(self, start: Event, end: Event, path: Path, key: Place | None) -> None:
        literal = getattr(start, "style", None) == "|"
        place = self._place(start)
        self.spots[path] = Spot(key, place, end.end_mark.line + 1 + self._line, literal)

    def _place(self, event: Event) -> Place:
        place = place_of(event)
        return Place(place.line + self._line, place.column, place.span)


_CELL = re.compile(r'"(?:[^"]|"")*"|[^,]*')


def cell_column(line: str, index: int) -> int:
    """The column from 1 of the cell of that index in a CSV line; 1 when it has not so many."""
    position = 0
    for _ in range(index):
        found = _CELL.match(line, position)
        position = (found.end() if found else position) + 1
        if position > len(line):
            return 1
    return position + 1
