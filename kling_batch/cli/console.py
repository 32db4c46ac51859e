"""What is written to the terminal: clean text, colour where it is wanted, aligned columns."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from kling_batch.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

_COLOURS = {"green": 32, "yellow": 33, "red": 31, "blue": 34, "dim": 2, "bold": 1}


def coloured(stream: TextIO) -> bool:
    """Whether colours are wanted there (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int:
    """How wide a line may be there; off a terminal nothing is narrow."""
    if not stream.isatty():
        return 160
    try:
        columns = os.environ.get("COLUMNS", "")
        return int(columns) if columns.isdigit() else os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80


def paint(text: str, colour: str, wanted: bool) -> str:
    """The text in a colour, where colours are wanted."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if wanted and colour else text


def say(text: str = "") -> None:
    """Talk: to stderr. A closed stderr has nobody to tell."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def show(text: str) -> None:
    """A result: to stdout, at once: who reads it may wait for it. Raises UsageError."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f"the output can't be written: {error.strerror}", "make room, or send it elsewhere"
        ) from None


def show_json(value: Any) -> None:
    """A result for programs: one JSON document on stdout."""
    show(json.dumps(value, indent=2, ensure_ascii=escapes(sys.stdout), default=str))


def escapes(stream: TextIO) -> bool:
    """Whether JSON needs escapes there: its encoding has not every character."""
    return (stream.encoding or "").lower().replace("-", "") != "utf8"


def clock_time(seconds: float, now: float) -> str:
    """A time as people say it: "16:15", with the day where it is not today's."""
    from datetime import datetime

    then, today = datetime.fromtimestamp(seconds), datetime.fromtimestamp(now)
    if then.date() == today.date():
        return then.strftime("%H:%M")
    return then.strftime("%a %d %b %H:%M")


def dollars(amount: Decimal) -> str:
    """Rounded to the cent."""
    from decimal import ROUND_HALF_UP, Decimal

    return f"${amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def count(number: int, what: str) -> str:
    """ "1 job", "4 jobs"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned lines; the columns in `right` are set flush right, the last one runs on."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    cells = [f"{{:{'>' if i in right else '<'}{width}}}" for i, width in enumerate(widths)]
    line = "  ".join([*cells, "{}"]).format  # 1 µs a row; cell by cell it takes 4
    return [line(*row).rstrip() for row in rows]


def cut(text: str, width: int) -> str:
    """The text within that many characters."""
    return text if len(text) <= width else text[: max(width - 1, 1)] + "…"
