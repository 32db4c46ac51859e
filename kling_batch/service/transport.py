"""The HTTP seam: one call, request in, response out; and what a failed call says about the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kling_batch.structs import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. ``path`` starts with ``/`` and may hold a query; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer, read whole within a bound. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; raises ValueError where it is none (RecursionError included)."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("JSON nested too deeply") from error


class NothingSent(Exception):
    """The call failed before its first byte left: refused, not resolved, no TLS."""


class Unanswered(Exception):
    """The request left, wholly or in part, and no answer came: the outcome is unknown."""


Transport = Callable[[HttpRequest], HttpResponse]
