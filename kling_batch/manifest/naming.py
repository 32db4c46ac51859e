"""The name in a manifest, found without reading the rest."""

from __future__ import annotations

from collections.abc import Callable

import yaml
from yaml.events import (
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from kling_batch.manifest.document import Event

_OPENING = (MappingStartEvent, SequenceStartEvent)
_CLOSING = (MappingEndEvent, SequenceEndEvent)


def stated_name(get: Callable[[], Event]) -> str | None:
    """The text of the top-level ``name``; None when there is none before the end or an error."""
    try:
        get()
        get()
        if not isinstance(get(), MappingStartEvent):
            return None
        return _search(get)
    except (yaml.YAMLError, UnicodeError):
        return None


def _search(get: Callable[[], Event]) -> str | None:
    depth, is_key, named = 1, True, False
    while depth:
        event = get()
        kind = type(event)
        if kind is StreamEndEvent:
            return None
        if depth == 1:
            if named and kind is ScalarEvent:
                return str(event.value)
            if kind is not MappingEndEvent:
                named = is_key and kind is ScalarEvent and event.value == "name"
                is_key = not is_key
        if kind in _OPENING:
            depth += 1
        elif kind in _CLOSING:
            depth -= 1
    return None
