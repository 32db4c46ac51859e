"""API keys and passwords in a manifest: found, refused, never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from kling_batch.manifest.problems import Finding, Path, Place, finding

KEY = r"ulazai_live_[A-Za-z0-9_\-]{4,}"
_USER_INFO = r"(://)[^/\s@\"']+@"

_KEY_SAID = "this looks like an API key: a manifest is shared, so it must not hold one"
_KEY_HINT = (
    "put it into the variable ULAZAI_API_KEY, or a .env file beside the manifest; "
    "revoke it if it was ever committed"
)


def keys_in(value: Any, data: bytes) -> Iterator[Finding]:
    """Anything that looks like an API key, in a value or a comment."""
    if b"ulazai_live_" not in data:
        return
    found = list(_paths_of_keys(value, ()))
    yield from (finding(path, _KEY_SAID, hint=_KEY_HINT) for path in found)
    if not found:
        yield from keys_in_text(data, (), "")


def keys_in_text(data: bytes, path: Path, file: str) -> Iterator[Finding]:
    """Anything in a text that looks like an API key, at its place."""
    if b"ulazai_live_" not in data:
        return
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        hit = re.search(KEY, line)
        if hit:
            place = Place(number, hit.start() + 1)
            yield Finding(path, (_KEY_SAID,), _KEY_HINT, file=file, place=place)


def _paths_of_keys(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, str) and re.search(KEY, value):
        yield path
    parts: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for key, part in parts:
        yield from _paths_of_keys(part, (*path, key))


def hide_keys(text: str) -> str:
    """The text without anything that looks like an API key, or a URL's password."""
    text = re.sub(KEY, "ulazai_live_…", text) if "ulazai_live_" in text else text
    return re.sub(_USER_INFO, r"\1…@", text) if "@" in text else text
