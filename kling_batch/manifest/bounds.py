"""What a template may name and how much it may do; and the fault of one that does more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MAX_SOURCE = 10_000
MAX_VALUE = 20_000
MAX_OUTPUT = 20_000
MAX_WORK = 100_000
MAX_WORK_IN_ALL = 50_000_000
MAX_NESTING = 60
NAMES = (
    "image", "video", "vars", "id", "take",
    "quality_mode", "character_orientation", "duration_seconds",
)  # fmt: skip
GROUPS = frozenset({"image", "video", "vars"})


class Group(dict[str, Any]):
    """``image``, ``video`` or ``vars``: what dotted names are looked up in."""

    __slots__ = ("name",)
    name: str


def group(name: str, values: dict[str, Any]) -> Group:
    """These values under that name, for a scope."""
    made = Group(values)
    made.name = name
    return made


class TemplateFault(Exception):
    """A template that can't be used. ``needle`` is the part that is meant, ``row`` its line."""

    def __init__(self, message: str, hint: str = "", needle: str = "", row: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.needle = needle
        self.row = row


class Meter:
    """Counts work, one rendering's and a manifest's: characters handled and loop rounds."""

    def __init__(self) -> None:
        self._left = MAX_WORK
        self._left_in_all = MAX_WORK_IN_ALL

    def reset(self) -> None:
        self._left = MAX_WORK

    def spend(self, amount: int) -> None:
        self._left -= amount + 1
        self._left_in_all -= amount + 1
        if self._left < 0 or self._left_in_all < 0:
            raise TemplateFault(
                "the template does too much work", "a prompt needs no long loops: write it out"
            )

    def rounds(self, items: Any) -> Iterator[Any]:
        """The items of a loop, each counted with what a body of some size may cost."""
        for item in items:
            self.spend(100)
            yield item
