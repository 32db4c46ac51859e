"""What the stand-in answers and how that travels: one decision for both transports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from kling_batch.clock import Clock
from kling_batch.service.transport import HttpRequest, HttpResponse, NothingSent, Unanswered

# In process there is no wire to run dry: an endless body is this much of one.
ENDLESS_IN_PROCESS = 4 << 20


@dataclass(frozen=True, slots=True)
class Drip:
    """A body sent ``bytes`` at a time, one piece each ``every`` seconds."""

    bytes: int
    every: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer goes over the wire. Seconds are real ones: clients' time-outs are too.

    ``refuse``: nothing was sent (over a socket: a reset before the answer). ``reset``: the
    connection is reset before the answer. ``hang``: no answer for so many seconds, then closed.
    ``cut``: so many bytes of the body, then closed. ``length``: what Content-Length says:
    the whole body's, that of the bytes really sent, or nothing at all.
    """

    refuse: bool = False
    reset: bool = False
    hang: float | None = None
    delay: float = 0.0
    cut: int | None = None
    length: Literal["full", "sent", "none"] = "full"
    drip: Drip | None = None
    endless: bool = False


PLAIN = Delivery()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its way to the client."""

    response: HttpResponse
    delivery: Delivery = field(default=PLAIN)


def arrive(reply: Reply, request: HttpRequest, clock: Clock) -> HttpResponse:
    """What a client in this process gets; raises NothingSent or Unanswered where the wire fails.

    A delay passes on the clock; a hang is over at once, since the caller's patience is unknown.
    """
    delivery = reply.delivery
    if delivery.refuse:
        raise NothingSent("connection refused by the fault script")
    if delivery.reset:
        raise Unanswered("connection reset by the fault script")
    if delivery.hang is not None:
        raise Unanswered("no answer in time, by the fault script")
    if delivery.delay:
        clock.sleep(delivery.delay)
    response, body = reply.response, reply.response.body
    if request.method == "HEAD":
        return replace(response, headers=_with_length(response, len(body)), body=b"")
    if delivery.endless:
        times = ENDLESS_IN_PROCESS // max(1, len(body)) + 1
        return replace(response, body=body * times)
    if delivery.cut is None or delivery.cut >= len(body):
        return replace(response, headers=_with_length(response, len(body)))
    if delivery.length == "full":
        raise Unanswered("connection closed in the middle of the body, by the fault script")
    part = body[: delivery.cut]
    if delivery.length == "none":
        return replace(response, body=part)
    return replace(response, headers=_with_length(response, len(part)), body=part)


def _with_length(response: HttpResponse, length: int) -> dict[str, str]:
    return {"content-length": str(length), **response.headers}
