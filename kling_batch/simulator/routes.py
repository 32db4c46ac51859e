"""The stand-in's paths: which route a path belongs to and which methods it knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

READ = ("GET", "HEAD")
WRITE = ("POST",)


class Route(str, Enum):
    """What a request is for. The values are the words of fault rules and of the request log."""

    GENERATE = "generate"
    STATUS = "status"
    HISTORY = "history"
    MODELS = "models"
    LEGACY_GENERATE = "legacy_generate"
    LEGACY_STATUS = "legacy_status"
    RESULT = "result"
    INPUT = "input"
    LEDGER = "ledger"
    TOP_UP = "top_up"
    UNKNOWN = "unknown"


SUBMISSIONS = frozenset({Route.GENERATE, Route.LEGACY_GENERATE})
POLLS = frozenset({Route.STATUS, Route.LEGACY_STATUS})
# The service's API proper: what a key is needed for.
KEYED = frozenset({*SUBMISSIONS, *POLLS, Route.HISTORY, Route.MODELS})

_TABLE: tuple[tuple[Route, tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (route, methods, re.compile(pattern))
    for route, methods, pattern in (
        (Route.GENERATE, WRITE, r"/api/v1/video-studio/generate/"),
        (Route.STATUS, READ, r"/api/v1/video-studio/status/([^/]+)/"),
        (Route.HISTORY, READ, r"/api/v1/video-studio/history/"),
        (Route.MODELS, READ, r"/api/v1/models/video/"),
        (Route.LEGACY_GENERATE, WRITE, r"/api/v1/generate/video/"),
        (Route.LEGACY_STATUS, READ, r"/api/v1/generate/([^/]+)/"),
        (Route.RESULT, READ, r"/results/([^/]+)\.mp4"),
        (Route.INPUT, READ, r"/inputs/(.+\.(?:png|mp4))"),
        (Route.LEDGER, READ, r"/simulator/ledger"),
        (Route.TOP_UP, WRITE, r"/simulator/top-up"),
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``name``: the job or input. ``slash_missing``: Django redirects it."""

    route: Route
    methods: tuple[str, ...] = ()
    name: str = ""
    query: str = ""
    slash_missing: bool = False


def find(path_and_query: str) -> Target:
    """The target of a path; UNKNOWN where there is none."""
    path, _, query = path_and_query.partition("?")
    found = _match(path, query)
    if found is None and not path.endswith("/"):
        slashed = _match(path + "/", query)
        if slashed is not None:
            return Target(Route.UNKNOWN, slashed.methods, slash_missing=True, query=query)
    return found or Target(Route.UNKNOWN)


def _match(path: str, query: str) -> Target | None:
    for route, methods, pattern in _TABLE:
        match = pattern.fullmatch(path)
        if match:
            name = unquote(match[1]) if match.groups() else ""
            return Target(route, methods, name, query)
    return None
