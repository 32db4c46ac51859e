"""Threads that do the waiting: each runs a call and hands what to do with its result back."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")

Arrival = Callable[[], None]
Call = Callable[[], Arrival]


class Workers:
    """At most `count` daemon threads, begun as they are needed; with 0, calls are made at once.

    They are daemons so that a run that must end does not wait for the network: whatever
    they would still have brought is asked for anew by the next run. `start` and what arrives
    are for one thread, the scheduler.
    """

    def __init__(self, count: int) -> None:
        self.arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._count = count
        self._begun = 0
        # A worker by what it takes its calls from. The last to be idle is the first to work: its
        # connections are the likeliest to be open still, and no more of them than are needed.
        self._idle: list[queue.SimpleQueue[Call]] = []
        self._waiting: deque[Call] = deque()

    def start(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `call` in a worker; its result, or what it raised, arrives in the scheduler."""
        if not self._count:
            self.arrivals.put(_arrival(call, then))
        elif self._idle:
            self._idle.pop().put(lambda: _arrival(call, then))
        elif self._begun < self._count:
            self._begin().put(lambda: _arrival(call, then))
        else:
            self._waiting.append(lambda: _arrival(call, then))

    def _begin(self) -> queue.SimpleQueue[Call]:
        calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        threading.Thread(target=self._work, args=(calls,), daemon=True).start()
        self._begun += 1
        return calls

    def _work(self, calls: queue.SimpleQueue[Call]) -> None:
        while True:
            self.arrivals.put(partial(self._take, calls.get()(), calls))

    def _take(self, arrival: Arrival, calls: queue.SimpleQueue[Call]) -> None:
        """In the scheduler: the worker is free for the next call, then what it brought."""
        if self._waiting:
            calls.put(self._waiting.popleft())
        else:
            self._idle.append(calls)
        arrival()


def _arrival(call: Callable[[], T], then: Callable[[T], None]) -> Arrival:
    try:
        result = call()
    except BaseException as error:  # raised again in the scheduler, where it is handled
        raised = error
        return lambda: _raise(raised)
    return lambda: then(result)


def _raise(error: BaseException) -> None:
    raise error
