"""The parser's errors, said for the author."""

from __future__ import annotations

import yaml

from kling_batch.manifest.problems import Finding, Place

_SYNTAX_HINTS = {
    "mapping values are not allowed": "a text with `: ` in it needs quotes",
    "cannot start any token": "tabs can't indent; a text starting with @ or % needs quotes",
    "did not find expected key": "check the indentation, and whether a text here needs quotes",
    "did not find expected ',' or": "a comma or a bracket is missing, or a text needs quotes",
    "could not find expected ':'": "a colon is missing, or a text over lines needs `>-`",
    "a tab character": "indent with spaces",
    "did not find expected node content": "a value is missing, or a bracket is not closed",
    "unexpected end of stream": "a quote or a bracket is not closed",
    "did not find expected <document start>": "check the indentation",
    "unknown escape character": "in double quotes a backslash is written twice",
}


def syntax_finding(error: yaml.YAMLError, data: bytes) -> Finding:
    """Why this text is not YAML, and where."""
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    lines = data.rstrip(b"\n").split(b"\n")
    if mark is None or (context is not None and mark.line >= len(lines)):
        mark = context  # past the end: where it began says more
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    hint = next((hint for part, hint in _SYNTAX_HINTS.items() if part in said), "")
    if mark is None:
        return _unreadable_character(error, said, data)
    place = Place(mark.line + 1, mark.column + 1)
    if mark.line >= len(lines):  # there is no such line
        place = Place(len(lines), max(1, len(lines[-1].decode("utf-8", "replace"))))
    return Finding((), (f"this is not YAML: {said}",), hint, place=place)


def _unreadable_character(error: yaml.YAMLError, said: str, data: bytes) -> Finding:
    # libyaml tells the byte, the pure reader the character; for ASCII before it they agree.
    position = max(0, int(getattr(error, "position", 0) or 0))
    before = data[:position]
    line_start = before.rfind(b"\n") + 1
    column = len(before[line_start:].decode("utf-8", "replace")) + 1
    place = Place(before.count(b"\n") + 1, column)
    return Finding((), (f"this is not YAML: {said}",), "remove that character", place=place)
