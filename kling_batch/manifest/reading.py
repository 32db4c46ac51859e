"""A manifest's text → its document; a long list of plain pairs is read apart, without the parser.

PyYAML makes three objects of every scalar, which is two thirds of what reading costs. So the
items of a block list below ``pairs:`` are taken apart by their lines here, as far as these leave
no doubt: a word, a colon, and a text that stands bare, or in quotes without escapes, or a flow
mapping of bare texts; or a block of such lines below the word. Every item that is otherwise is
the parser's, and so is the text around the list. Where all this does not make one clean document,
the whole text is read by the parser, which alone has words for what is wrong. A property test
holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from kling_batch.manifest.document import (
    MAX_SHARED,
    Document,
    Reader,
    Unreadable,
    Value,
    breaks_lines_at_newlines_only,
    events,
    read_whole,
)
from kling_batch.manifest.scalars import STARTS, NotResolved, plain

SECTION = "pairs"
CHUNK = 1 << 18
SHORT = 64  # longer texts seldom come again

_OPENING = re.compile(rb"pairs:\n( *)- ")
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_BEGINS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/(+.~")
_KEY = re.compile(rf"{_WORD}\Z")
_BARE = r"[\w/(.+](?:[^,\[\]{}:#?\n]|:(?=/))*"  # within a flow mapping
_FLOW = re.compile(rf"\{{{_WORD}: {_BARE}(?:, {_WORD}: {_BARE})*\}}")


def read(data: bytes) -> Document:
    """The one document in this UTF-8 text. Raises Unreadable."""
    try:
        return _read_apart(data)
    except (_Doubt, Unreadable, UnicodeDecodeError, yaml.YAMLError):
        return read_whole(data)


class _Doubt(Exception):
    """Only the parser can say what this is."""


def _read_apart(data: bytes) -> Document:
    start = 0 if data.startswith(b"pairs:\n") else data.find(b"\npairs:\n") + 1
    opening = _OPENING.match(data, start)
    if opening is None or not breaks_lines_at_newlines_only(data):
        raise _Doubt
    begin = opening.start(1)
    # The list ends before the first line that stands left of its dashes, comments aside.
    left_of = rb"\n(?![ \n#])" if opening[1] else rb"\n(?![ \n#-])"
    ending = re.compile(left_of).search(data, begin)
    end = ending.end() if ending else len(data)
    # One item stands for all of them, in the same place and as many lines.
    token = SECTION
    while token.encode() in data[:start] or token.encode() in data[end:]:
        token += "-"
    dash = f"{opening[1].decode()}- "
    item = f"{dash}{token}".encode() + b"\n" * data.count(b"\n", begin, end)
    reader = Reader()
    document = reader.document(events(data[:begin] + item + data[end:]))
    value = document.value
    if document.findings or not isinstance(value, dict) or value.get(SECTION) != [token]:
        raise _Doubt  # wrong, or the list was within a text
    pairs = _Pairs(reader, dash)
    pairs.read(data, begin, end)
    value[SECTION] = pairs.items
    if SECTION in document.starts:
        document.starts[SECTION] = pairs.starts
    return document


class _Pairs:
    """The list's items as they are read, and the line from 0 that each starts at."""

    def __init__(self, reader: Reader, dash: str) -> None:
        self.items: list[Value] = []
        self.starts: list[int] = []
        self._reader = reader
        self._dash = dash
        self._between = f"\n{' ' * len(dash)}"  # two lines of one item
        self._meanings: dict[str, Value] = {}  # of short texts as they are written
        self._keys: dict[str, str] = {}

    def read(self, data: bytes, begin: int, end: int) -> None:
        """Read the items of this part of the text."""
        line = data.count(b"\n", 0, begin)
        doubtful: list[str] = []  # items that stand side by side
        for chunk in self._chunks(data, begin, end):
            usual = chunk.replace("\n", "").isprintable()
            for text in chunk[len(self._dash) :].split(f"\n{self._dash}"):
                try:
                    if not usual:
                        raise _Doubt
                    item = self._item(text.rstrip("\n"))
                except _Doubt:
                    doubtful.append(text)
                else:
                    if doubtful:
                        line = self._parse(doubtful, "\n", line)
                        doubtful = []
                    self.items.append(item)
                    self.starts.append(line)
                    line += text.count("\n") + 1
        if doubtful:
            self._parse(doubtful, "", line)  # its end is the list's

    def _chunks(self, data: bytes, begin: int, end: int) -> Iterator[str]:
        """The text in parts of whole items: a hundred thousand at once would double the memory."""
        start = f"\n{self._dash}".encode()
        while begin < end:
            stop = data.rfind(start, begin + 1, begin + CHUNK) if end - begin > CHUNK else -1
            if stop < 0 and end - begin > CHUNK:
                stop = data.find(start, begin + 1, end)
            stop = stop if stop >= 0 else end
            yield data[begin:stop].decode()
            begin = stop + 1

    def _parse(self, doubtful: list[str], end: str, line: int) -> int:
        """Let the parser read these items, up to what ends them; returns the line after them."""
        text = self._dash + f"\n{self._dash}".join(doubtful) + end
        items, starts = self._reader.items(events(text.encode()))
        if self._reader.has_findings or self._reader.has_anchors:
            raise _Doubt
        self.items += items
        self.starts += [line + start for start in starts]
        return line + text.count("\n")

    def _item(self, text: str) -> dict[str, Value]:
        if text.startswith("{"):
            return self._flow(text)
        lines = text.split(self._between)
        if text.count("\n") >= len(lines):
            raise _Doubt  # a line that does not stand where the others do
        out: dict[str, Value] = {}
        keys, meanings = self._keys, self._meanings
        inner = 0
        for number, line in enumerate(lines):
            word, _, written = line.partition(": ")
            key = keys.get(word)
            if key is None:
                if word.startswith(" "):
                    continue  # of the block above, which has counted it
                if word.endswith(":"):
                    block = self._block(lines, number + 1)
                    out[self._key(word[:-1])] = block
                    inner += len(block)
                    continue
                key = self._key(word)
            value = meanings.get(written)
            out[key] = self._value(written) if value is None else value
        if len(out) + inner != len(lines):
            raise _Doubt  # a word that comes twice, or a line that goes on with the one before
        return out

    def _block(self, lines: list[str], start: int) -> dict[str, Value]:
        """The lines from there on that stand further in, all alike."""
        out: dict[str, Value] = {}
        indent = ""
        for line in lines[start:]:
            if not line.startswith(" "):
                break
            indent = indent or line[: len(line) - len(line.lstrip(" "))]
            word, _, written = line.removeprefix(indent).partition(": ")
            out[self._key(word)] = self._value(written)
        if not out:
            raise _Doubt
        return out

    def _flow(self, text: str) -> dict[str, Value]:
        if not _FLOW.fullmatch(text):
            raise _Doubt
        keys, meanings = self._keys, self._meanings
        out: dict[str, Value] = {}
        entries = text[1:-1].split(", ")
        for entry in entries:
            word, _, written = entry.partition(": ")
            key = keys.get(word) or self._key(word)
            value = meanings.get(written)
            out[key] = self._value(written) if value is None else value
        if len(out) != len(entries):
            raise _Doubt
        return out

    def _key(self, text: str) -> str:
        """The one object for this word: a hundred thousand pairs hold it."""
        if text in self._keys:
            return self._keys[text]
        if not _KEY.match(text) or (text[0] in STARTS and not isinstance(_meaning(text), str)):
            raise _Doubt
        if len(self._keys) < MAX_SHARED:
            self._keys[text] = text
        return text

    def _value(self, written: str) -> Value:
        """What is written after a key, bare or in quotes, or a flow mapping."""
        first = written[:1]
        value: Value = written
        if first in _BEGINS or first.isalnum():
            if ": " in written or " #" in written or written[-1] in " :":
                raise _Doubt
            if first in STARTS:
                value = _meaning(written)
        elif first == "{":
            return self._flow(written)
        else:
            value = _quoted(written, first)
        if len(written) <= SHORT and len(self._meanings) < MAX_SHARED:
            self._meanings[written] = value
        return value


def _quoted(written: str, quote: str) -> str:
    text = written[1:-1]
    if quote not in ("'", '"') or len(written) < 2 or written[-1] != quote:
        raise _Doubt
    if quote in text or "\\" in text:
        raise _Doubt
    return text


def _meaning(text: str) -> Value:
    """What an unquoted text means."""
    try:
        return plain(text)
    except NotResolved:
        raise _Doubt from None
