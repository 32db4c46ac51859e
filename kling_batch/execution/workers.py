"""Threads that do the waiting: each runs a call and hands what to do with its result back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Arrival = Callable[[], None]


class Workers:
    """At most `count` daemon threads, begun as they are needed; with 0, calls are made at once.

    They are daemons so that a run that must end does not wait for the network: whatever
    they would still have brought is asked for anew by the next run.
    """

    def __init__(self, count: int) -> None:
        self.arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._count = count
        self._calls: queue.SimpleQueue[Callable[[], Arrival]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def start(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `call` in a worker; its result, or what it raised, arrives in the scheduler."""
        self._busy += 1
        if not self._count:
            self.arrivals.put(self._arrival(call, then))
            return
        if self._busy > len(self._threads) < self._count:
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._calls.put(lambda: self._arrival(call, then))

    def _arrival(self, call: Callable[[], T], then: Callable[[T], None]) -> Arrival:
        try:
            result = call()
        except BaseException as error:  # raised again in the scheduler, where it is handled
            raised = error
            return lambda: self._raise(raised)
        return lambda: self._hand(then, result)

    def _hand(self, then: Callable[[T], None], result: T) -> None:
        self._busy -= 1
        then(result)

    def _raise(self, error: BaseException) -> None:
        self._busy -= 1
        raise error

    def _work(self) -> None:
        while True:
            self.arrivals.put(self._calls.get()())
