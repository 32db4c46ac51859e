"""Time, as one seam: wall time for records, monotonic time for deadlines, waiting."""

from __future__ import annotations

import queue
import time
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What the rest may know of time. All figures are seconds."""

    def now(self) -> float:
        """Wall time since the epoch; may jump."""

    def monotonic(self) -> float:
        """Time since some start; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after that long."""

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        """The next arrival, or None when none came in that time."""


class SystemClock:
    """Real time, or real time sped up: ``speed`` seconds pass in one.

    The sped-up clock lets ``run --simulate`` keep every interval of a real run
    (polls, back-off, job times) and still be over in seconds.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._wall_start = time.time()
        self._start = time.monotonic()

    def now(self) -> float:
        if self._speed == 1.0:
            return time.time()
        return self._wall_start + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._start) * self._speed

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds / self._speed)

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        try:
            return arrivals.get(timeout=max(0.0, seconds / self._speed))
        except queue.Empty:
            return None
