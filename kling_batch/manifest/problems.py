"""What is wrong in a manifest: a problem with its place and mend, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kling_batch.errors import UsageError
from kling_batch.structs import dataclass

Path = tuple[str | int, ...]
"""A way through the document: ("pairs", 3, "image")."""

# Texts: a manifest without mistakes is not to wait until they are compiled.
_ESCAPES = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?"
_UNSHOWN = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_PLAIN_KEY = r"[A-Za-z0-9_-]+\Z"
_WIDTH = 70
_LEFT = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. ``line`` and ``column`` count from 1, ``path`` is like ``pairs[3].image``.

    ``excerpt`` is the source line as it stands in the file; ``span`` says how many of its
    characters from ``column`` on are meant.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    excerpt: str = ""
    span: int = 1


class ManifestInvalid(UsageError):
    """A manifest that can't be used, with everything that is wrong with it, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        count = len(self.problems)
        said = "1 problem" if count == 1 else f"{count:,} problems"
        super().__init__(
            f"{first.file}: {said}; first, at line {first.line}: {first.message}", first.hint
        )


def path_text(path: Path) -> str:
    """The path as the user reads it: ``matrix[0].with["vars.weather"][1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.match(_PLAIN_KEY, part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def clean(text: str) -> str:
    """The text without terminal escape sequences or characters that move the cursor or the eye."""
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_UNSHOWN, " ", re.sub(_ESCAPES, "", text))


def show(problem: Problem) -> str:
    """The problem for a terminal: place and message, the source line with a caret, the hint."""
    where = f"{problem.file}:{problem.line}:{problem.column}"
    lines = [clean(f"{where}: {problem.message}")]
    if problem.excerpt.strip():
        lines += _caret(problem)
    if problem.hint:
        lines.append(clean(f"  hint: {problem.hint}"))
    return "\n".join(lines)


def _caret(problem: Problem) -> list[str]:
    # One character stands for one, so that the caret stays under its place.
    source = re.sub(_UNSHOWN, " ", problem.excerpt)
    start = min(problem.column - 1, len(source))
    span = max(1, min(problem.span, len(source) - start))
    indent = len(source) - len(source.lstrip(" "))
    cut = min(indent, start) if start - min(indent, start) <= _LEFT else start - _LEFT
    shown = source[cut : cut + _WIDTH]
    before = "…" if cut > indent else ""
    after = "…" if len(source) > cut + _WIDTH else ""
    span = min(span, max(1, len(shown) - (start - cut)))
    number = str(problem.line)
    return [
        f"  {number} | {before}{shown}{after}",
        f"  {' ' * len(number)} | {' ' * (len(before) + start - cut)}{'^' * span}",
    ]


def as_json(problem: Problem) -> dict[str, str | int]:
    """The six keys of ``validate --json``."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
    }


def as_github(problem: Problem) -> str:
    """A GitHub workflow command that marks the line in a pull request."""
    text = f"{problem.message}\n{problem.hint}" if problem.hint else problem.message
    data = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = problem.file
    for mark, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        file = file.replace(mark, code)
    return f"::error file={file},line={problem.line},col={problem.column}::{data}"


@dataclass(frozen=True, slots=True)
class Line:
    """Stands in a message for the line number of another place."""

    path: Path
    file: str = ""
    on_key: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column from 1, and how many characters are meant."""

    line: int
    column: int
    span: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its place is looked up; see ``places.settle``.

    ``file`` is empty for the manifest itself, else a CSV file. ``place`` is given where it is
    known from the start. ``needle`` is the text within the value that is meant. ``row`` counts
    template lines from 1. ``secret`` keeps the value out of the excerpt.
    """

    path: Path
    said: tuple[str | Line, ...]
    hint: str = ""
    on_key: bool = False
    file: str = ""
    place: Place | None = None
    needle: str = ""
    row: int = 0
    secret: bool = False


def finding(path: Path, *said: str | Line, hint: str = "", on_key: bool = False) -> Finding:
    """The common case of a finding."""
    return Finding(path, said, hint, on_key)
