"""The nearest right word for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable

_MANY = 200
_LONG = 60


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The most similar of the known words, or None when none is similar.

    Of more than 200 words only those are compared that have about the length and an end in
    common: a manifest may have as many misspelt names as names.
    """
    from difflib import get_close_matches

    if len(word) > _LONG:
        return None
    words = list(known)
    if len(words) > _MANY:
        words = [
            other
            for other in words
            if abs(len(other) - len(word)) < 3
            and (other[:2] == word[:2] or other[-3:] == word[-3:])
        ][:_MANY]
    found = get_close_matches(word, words, 1, cutoff)
    if not found and word != word.lower():
        found = get_close_matches(word.lower(), words, 1, cutoff)
    return found[0] if found else None
