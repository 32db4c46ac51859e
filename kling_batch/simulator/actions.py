"""What a scripted fault may do: to the service's work, to its answer, to the answer's way.

the answer instead       respond: {status, headers, body | json}, garbage, page,
                         redirect: URL, success_false, vanish
the wire                 refuse, reset, timeout: S, delay: S, cut: BYTES, drip: {bytes, every},
                         short: {bytes, length: full | sent | none}, endless
a submission's work      fail, stuck, charge: N, job_ids: N
a submission's answer    no_ids, same_id
a status answer          status_word: W, no_urls
a result                 expire, etag_changes, ignore_range
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from kling_batch.service.transport import HttpResponse
from kling_batch.simulator.account import AS_ASKED, Twist
from kling_batch.simulator.answers import refusal
from kling_batch.simulator.outcome import PLAIN, Delivery, Drip
from kling_batch.simulator.routes import POLLS, SUBMISSIONS, Route

PAGE = b"<!doctype html><html><head><title>One moment</title></head><body>One moment</body></html>"
_EVERYWHERE = frozenset(Route)
_RESULT = frozenset({Route.RESULT})


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule changes in one call, all of it decided before the call is answered."""

    before: bool = False
    instead: HttpResponse | None = None
    delivery: Delivery = PLAIN
    twist: Twist = AS_ASKED
    ids: Literal["none", "seen"] | None = None
    status_word: str | None = None
    no_urls: bool = False
    expire: bool = False
    etag_changes: bool = False
    ignore_range: bool = False

    def acting(self, before: bool) -> Effect:
        return replace(self, before=before)


NO_EFFECT = Effect()


@dataclass(frozen=True, slots=True)
class Action:
    """One word under ``do``: what it changes, and on which routes it can."""

    apply: Callable[[Effect, Any], Effect]
    routes: frozenset[Route] = _EVERYWHERE
    shapes_work: bool = False


def _delivery(**changes: Any) -> Callable[[Effect, Any], Effect]:
    def apply(effect: Effect, value: Any) -> Effect:
        _flag(value)
        return replace(effect, delivery=replace(effect.delivery, **changes))

    return apply


def _timeout(effect: Effect, value: Any) -> Effect:
    return replace(effect, delivery=replace(effect.delivery, hang=_number(value)))


def _delay(effect: Effect, value: Any) -> Effect:
    return replace(effect, delivery=replace(effect.delivery, delay=_number(value)))


def _twist(name: str, read: Callable[[Any], Any]) -> Callable[[Effect, Any], Effect]:
    def apply(effect: Effect, value: Any) -> Effect:
        return replace(effect, twist=replace(effect.twist, **{name: read(value)}))

    return apply


def _set(**changes: Any) -> Callable[[Effect, Any], Effect]:
    def apply(effect: Effect, value: Any) -> Effect:
        _flag(value)
        return replace(effect, **changes)

    return apply


def _respond(effect: Effect, value: Any) -> Effect:
    if not isinstance(value, dict) or not set(value) <= {"status", "headers", "body", "json"}:
        raise ValueError("must be a mapping of status, headers, and body or json")
    status = value.get("status")
    if type(status) is not int or not 200 <= status <= 599:
        raise ValueError("status: must be a number from 200 to 599")
    headers = value.get("headers", {})
    if not isinstance(headers, dict):
        raise ValueError("headers: must be a mapping")
    named = {str(name).lower(): str(text) for name, text in headers.items()}
    if any(not text.isprintable() for pair in named.items() for text in pair):
        raise ValueError("headers: must hold no control characters")
    if "json" in value:
        named = {"content-type": "application/json", **named}
        return replace(effect, instead=HttpResponse(status, named, _dump(value["json"])))
    body = value.get("body", "")
    if not isinstance(body, str):
        raise ValueError("body: must be a string; use json for values")
    return replace(
        effect, instead=HttpResponse(status, {"content-type": "text/html", **named}, body.encode())
    )


def _dump(value: Any) -> bytes:
    # NaN and infinities go out as they are: clients meet them in the wild.
    try:
        return json.dumps(value).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError("json: can't be written as JSON") from error


def _redirect(effect: Effect, value: Any) -> Effect:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise ValueError("must be a URL")
    return replace(effect, instead=HttpResponse(302, {"location": value}))


def _cut(effect: Effect, value: Any) -> Effect:
    return replace(effect, delivery=replace(effect.delivery, cut=_count(value)))


def _short(effect: Effect, value: Any) -> Effect:
    if not isinstance(value, dict) or set(value) != {"bytes", "length"}:
        raise ValueError("must be a mapping of bytes and length")
    if value["length"] not in ("full", "sent", "none"):
        raise ValueError("length: must be full, sent or none")
    changed = replace(effect.delivery, cut=_count(value["bytes"]), length=value["length"])
    return replace(effect, delivery=changed)


def _drip(effect: Effect, value: Any) -> Effect:
    if not isinstance(value, dict) or set(value) != {"bytes", "every"}:
        raise ValueError("must be a mapping of bytes and every")
    drip = Drip(_count(value["bytes"], at_least=1), _number(value["every"]))
    return replace(effect, delivery=replace(effect.delivery, drip=drip))


def _status_word(effect: Effect, value: Any) -> Effect:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return replace(effect, status_word=value)


def _flag(value: Any) -> bool:
    if value is not True:
        raise ValueError("takes no value: leave the rule out where it is not wanted")
    return True


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e6:
        raise ValueError("must be a number of seconds")
    return float(value)


def _count(value: Any, at_least: int = 0) -> int:
    if type(value) is not int or value < at_least:
        raise ValueError(f"must be a whole number from {at_least}")
    return value


_HTML = HttpResponse(200, {"content-type": "text/html; charset=utf-8"}, PAGE)
_JOB_ROUTES = POLLS | _RESULT

ACTIONS: dict[str, Action] = {
    "respond": Action(_respond),
    "garbage": Action(_set(instead=_HTML)),
    "page": Action(_set(instead=_HTML), _RESULT),
    "redirect": Action(_redirect),
    "success_false": Action(_set(instead=refusal(200, "Something went wrong"))),
    "vanish": Action(_set(instead=refusal(404, "Job not found")), _JOB_ROUTES),
    "refuse": Action(_delivery(refuse=True)),
    "reset": Action(_delivery(reset=True)),
    "timeout": Action(_timeout),
    "delay": Action(_delay),
    "cut": Action(_cut),
    "short": Action(_short),
    "drip": Action(_drip),
    "endless": Action(_delivery(endless=True)),
    "fail": Action(_twist("fails", _flag), SUBMISSIONS, shapes_work=True),
    "stuck": Action(_twist("stuck", _flag), SUBMISSIONS, shapes_work=True),
    "charge": Action(_twist("charge", _count), SUBMISSIONS, shapes_work=True),
    "job_ids": Action(
        _twist("jobs", lambda value: _count(value, at_least=1)), SUBMISSIONS, shapes_work=True
    ),
    "no_ids": Action(_set(ids="none"), SUBMISSIONS, shapes_work=True),
    "same_id": Action(_set(ids="seen"), SUBMISSIONS, shapes_work=True),
    "status_word": Action(_status_word, POLLS, shapes_work=True),
    "no_urls": Action(_set(no_urls=True), POLLS, shapes_work=True),
    "expire": Action(_set(expire=True), _RESULT, shapes_work=True),
    "etag_changes": Action(_set(etag_changes=True), _RESULT, shapes_work=True),
    "ignore_range": Action(_set(ignore_range=True), _RESULT, shapes_work=True),
}
# Those that stand in the place of the service's own answer.
REPLACING = frozenset(
    {
        "respond",
        "garbage",
        "page",
        "redirect",
        "success_false",
        "vanish",
        "refuse",
        "reset",
        "timeout",
    }
)
