"""What an unquoted scalar means in YAML 1.2's core schema."""

from __future__ import annotations

import math
import re

_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
STARTS = frozenset("0123456789+-.~nNtTfF")
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_MAX_DIGITS = 18


class NotResolved(ValueError):
    """A plain scalar that has no single meaning; args are what is wrong and the mend."""


def plain(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means in YAML 1.2. Raises NotResolved."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0":
            raise NotResolved(
                f"`{text[:40]}` starts with a zero: some readers take it for octal",
                f"write `{text[: -len(digits)]}{digits.lstrip('0')[:40] or '0'}` for the number, "
                f'or "{text[:40]}" in quotes for the text',
            )
        if len(digits) > _MAX_DIGITS:
            raise NotResolved("this number has too many digits", "put it in quotes if it is text")
        return int(text)
    if _BASED.match(text):
        if len(text) > _MAX_DIGITS:
            raise NotResolved("this number has too many digits", "put it in quotes if it is text")
        return int(text, 0)
    if _NOT_FINITE.match(text):
        raise NotResolved(f"`{text}` is not a usable number", "put it in quotes if it is text")
    if _FLOAT.match(text):
        number = float(text)
        if not math.isfinite(number):
            raise NotResolved(
                f"`{text[:40]}` is too large a number", "put it in quotes if it is text"
            )
        return number
    return text
