"""YAML text → plain values, read strictly with the meanings of YAML 1.2's core schema.

Built on the parser's events: no graph of nodes, no marks kept. What a mapping or a list looks
like in memory is what Python has for it; places are found again for what is wrong (places.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from kling_batch.manifest.problems import Finding, Place, finding
from kling_batch.manifest.scalars import STARTS, NotResolved, plain
from kling_batch.manifest.syntax import syntax_finding
from kling_batch.structs import dataclass, field

Event = Any
"""A parsing event of PyYAML; its stubs leave out what each kind of event has."""

Value = Any
"""dict, list, str, int, float, bool or None."""

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 40
MAX_SHARED = 65_536
MAX_REPEATED = 2_000_000
"""How many values aliases and merges may add to what is written."""


_FLAT = "no part of a manifest needs that: write it flat"


class Unreadable(Exception):
    """The text can't be read to its end; carries the one finding that says why."""

    def __init__(self, said: Finding) -> None:
        super().__init__(said.said)
        self.finding = said


@dataclass(slots=True)
class Document:
    """The values of a text, and what was wrong while they were read."""

    value: Value
    findings: list[Finding] = field(default_factory=list)
    empty: bool = False
    starts: dict[str, list[int]] = field(default_factory=dict)
    """For each top-level list in block style the lines, from 0, that its items start at.

    Empty when anchors are used: then no item means anything by itself.
    """


def read_whole(data: bytes) -> Document:
    """The one document in this UTF-8 text, by the parser alone. Raises Unreadable."""
    try:
        return Reader().document(events(data))
    except yaml.YAMLError as error:
        raise Unreadable(syntax_finding(error, data)) from None


def events(data: Any) -> Callable[[], Event]:
    """A function that gives the text's parsing events one by one (bytes, or a binary file)."""
    try:
        from yaml._yaml import CParser
    except ImportError:  # PyYAML without libyaml: the same events, about ten times slower
        return yaml.SafeLoader(data).get_event
    return CParser(data).get_event


def breaks_lines_at_newlines_only(data: bytes) -> bool:
    """Whether a count of newlines is a count of lines: YAML ends lines at more than these."""
    if data.isascii():
        return b"\r" not in data
    odd = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
    return b"\r" not in data and not any(end in data for end in odd)


def place_of(event: Event) -> Place:
    """Where the event stands, and how far it reaches on its first line."""
    start, end = event.start_mark, event.end_mark
    span = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(1, span))


class Reader:
    """One pass over a text's events. Findings get their paths on the way out of the recursion."""

    def __init__(self) -> None:
        self._get: Callable[[], Event]
        self._findings: list[Finding] = []
        self._anchors: dict[str, tuple[Value, int] | None] = {}
        self._keys: dict[str, str] = {}
        self._shared: dict[str, str] = {}  # texts that mean themselves, quoted or not
        self._quoted: dict[str, str] = {}  # those that would not, and stood in quotes
        self._resolved: dict[str, Value] = {}  # what they mean without
        self._starts: dict[str, list[int]] = {}
        self._values = 0
        self._repeated = 0

    @property
    def has_anchors(self) -> bool:
        """Whether anything that was read had an anchor."""
        return bool(self._anchors)

    @property
    def has_findings(self) -> bool:
        """Whether anything that was read was wrong."""
        return bool(self._findings)

    def items(self, get: Callable[[], Event]) -> tuple[list[Value], list[int]]:
        """The items of a text that is one block list, and the line from 0 that each starts at.

        For a list that is read apart from its document, at the depth that it has there.
        """
        self._get = get
        get()
        get()
        starts: list[int] = []
        if type(get()) is not SequenceStartEvent:
            raise Unreadable(finding((), "this is no list"))
        items = self._sequence(2, starts)
        get()
        if type(get()) is not StreamEndEvent:
            raise Unreadable(finding((), "a second document starts here"))
        return items, starts

    def document(self, get: Callable[[], Event]) -> Document:
        """The one document of a text."""
        self._get = get
        get()
        event = get()
        if not isinstance(event, DocumentStartEvent):
            return Document(None, [], empty=True)
        first = get()
        value = self._value(first, 0)
        get()
        after = get()
        if not isinstance(after, StreamEndEvent):
            said = finding((), "a second document starts here", hint="a manifest is one document")
            self._findings.append(_at(said, after))
        empty = value is None and isinstance(first, ScalarEvent) and not first.value
        return Document(value, self._findings, empty, {} if self._anchors else self._starts)

    def _value(self, event: Event, depth: int) -> Value:
        kind = type(event)
        if kind is AliasEvent:
            return self._alias(event)
        anchor, tag = event.anchor, event.tag
        if tag is not None:
            self._tag(event, tag)
        if anchor is not None:
            self._anchors[anchor] = None
            before = self._values
        if kind is ScalarEvent:
            value: Value = self._scalar(event)
        elif depth >= MAX_DEPTH:
            raise Unreadable(
                _at(finding((), f"nested deeper than {MAX_DEPTH} levels", hint=_FLAT), event)
            )
        elif kind is MappingStartEvent:
            value = self._mapping(depth + 1)
        else:
            starts: list[int] | None = None
            if depth == 1 and not event.flow_style:
                starts = self._starts[""] = []
            value = self._sequence(depth + 1, starts)
        if anchor is not None:
            self._anchors[anchor] = value, self._values - before + 1
        return value

    def _mapping(self, depth: int) -> dict[str, Value]:
        # The hot loop of a large manifest: scalars are taken here without a further call.
        get, keys, shared, findings = self._get, self._keys, self._shared, self._findings
        out: dict[str, Value] = {}
        seen: list[Event] = []
        merges: list[dict[str, Value]] = []
        while True:
            event = get()
            if type(event) is MappingEndEvent:
                break
            before = len(findings)
            key = keys.get(event.value) if type(event) is ScalarEvent else None
            if key is None or event.tag is not None or event.anchor is not None:
                key = self._key(event, depth)
            item = get()
            usual = type(item) is ScalarEvent and item.tag is None and item.anchor is None
            value = shared.get(item.value) if usual else None
            if value is None:
                value = self._item_of(key, item, depth)
            if key == "<<" and event.implicit[0]:
                if value is not None or len(findings) == before:
                    self._merge(value, event, merges, seen)
                continue
            if len(findings) > before:
                _prefix(findings, before, key)
            if key in out:
                self._twin(key, event, seen)
                value = _joined(out[key], value)
            out[key] = value
            seen.append(event)
        for merged in merges:
            out = {**merged, **out}
        self._values += len(out)
        return out

    def _item_of(self, key: str, event: Event, depth: int) -> Value:
        value = self._item(event, depth)
        if depth == 1 and "" in self._starts:
            self._starts[key] = self._starts.pop("")
        return value

    def _sequence(self, depth: int, starts: list[int] | None) -> list[Value]:
        get, findings = self._get, self._findings
        out: list[Value] = []
        while True:
            event = get()
            if type(event) is SequenceEndEvent:
                break
            if starts is not None:
                starts.append(event.start_mark.line)
            before = len(findings)
            value = self._item(event, depth)
            if len(findings) > before:
                _prefix(findings, before, len(out))
            out.append(value)
        self._values += len(out)
        return out

    def _item(self, event: Event, depth: int) -> Value:
        if type(event) is ScalarEvent and event.tag is None and event.anchor is None:
            return self._scalar(event)
        return self._value(event, depth)

    def _scalar(self, event: Event) -> Value:
        text: str = event.value
        known = self._shared
        if not text or text[0] in STARTS:
            if event.implicit[0]:
                return self._plain(text, event)
            known = self._quoted
        if len(known) < MAX_SHARED:
            return known.setdefault(text, text)
        return known.get(text, text)

    def _plain(self, text: str, event: Event) -> Value:
        if text in self._resolved:
            return self._resolved[text]
        try:
            value = plain(text)
        except NotResolved as error:
            said, hint = error.args
            self._findings.append(_at(finding((), said, hint=hint), event))
            return 0
        if len(self._resolved) < MAX_SHARED:
            self._resolved[text] = value
        return value

    def _key(self, event: Event, depth: int) -> str:
        if type(event) is not ScalarEvent:
            value = self._value(event, depth)
            if type(event) is AliasEvent and isinstance(value, str):
                return value
            said = finding((), "a key must be text", hint="write a plain word before the colon")
            self._findings.append(_at(said, event))
            return "?"
        if event.tag is not None or event.anchor is not None:
            self._value(event, depth)
        text: str = event.value
        if event.implicit[0] and (not text or text[0] in STARTS):
            self._check_key(text, event)
        elif event.implicit[0]:
            self._keys[text] = text
        return text

    def _check_key(self, text: str, event: Event) -> None:
        try:
            if isinstance(plain(text), str):
                self._keys[text] = text
                return
        except NotResolved:
            pass
        said = f"the key `{text[:40]}` is not text" if text else "a key is missing before the colon"
        self._findings.append(_at(finding((), said, hint=f'in quotes it is: "{text[:40]}"'), event))

    def _alias(self, event: Event) -> Value:
        name = event.anchor
        if name not in self._anchors:
            said = finding((), f"there is no anchor `&{name}` before this alias")
            self._findings.append(_at(said, event))
            return None
        known = self._anchors[name]
        if known is None:
            raise Unreadable(
                _at(finding((), f"the alias `*{name}` contains itself", hint=_FLAT), event)
            )
        value, size = known
        self._values += size
        self._repeated += size
        if self._repeated > MAX_REPEATED:
            said = finding(
                (),
                f"aliases and merges repeat more than {MAX_REPEATED:,} values",
                hint="use `defaults` or a matrix instead",
            )
            raise Unreadable(_at(said, event))
        return value

    def _merge(
        self, value: Value, event: Event, merges: list[dict[str, Value]], seen: list[Event]
    ) -> None:
        if merges:
            self._twin("<<", event, seen)
        seen.append(event)
        parts = value if isinstance(value, list) else [value]
        if all(isinstance(part, dict) for part in parts):
            # The first one wins, as the YAML merge key's text has it.
            merges += parts
            return
        said = finding((), "`<<` takes a mapping, or a list of mappings", hint="write `<<: *name`")
        self._findings.append(_at(said, event))

    def _tag(self, event: Event, tag: str) -> None:
        shown = tag.replace("tag:yaml.org,2002:", "!!")[:60]
        said = finding((), f"the tag `{shown}` is not allowed", hint="a manifest has no tags")
        self._findings.append(_at(said, event))

    def _twin(self, key: str, event: Event, seen: list[Event]) -> None:
        first = next((place_of(e) for e in seen if getattr(e, "value", None) == key), Place(1, 1))
        said = finding(
            (key,),
            f"`{key[:60]}` stands here a second time; "
            f"first at line {first.line}, column {first.column}",
            hint="keep one of the two",
        )
        self._findings.append(_at(said, event))


def _joined(first: Value, second: Value) -> Value:
    """For a key that stands twice: what one of the two defines is not to be missed elsewhere."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {**first, **second}
    return second


def _prefix(findings: list[Finding], start: int, key: str | int) -> None:
    for index in range(start, len(findings)):
        old = findings[index]
        findings[index] = Finding((key, *old.path), old.said, old.hint, place=old.place)


def _at(said: Finding, event: Event) -> Finding:
    return Finding(said.path, said.said, said.hint, place=place_of(event))
