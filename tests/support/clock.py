"""A clock that only moves when it is waited on."""

from __future__ import annotations

import queue
from typing import TypeVar

T = TypeVar("T")


class FakeClock:
    """Starts in 2026; waiting moves it. `jump` moves the wall alone, `sleep_machine` both."""

    era: str = "fake"

    def __init__(self, wall: float = 1_790_000_000.0) -> None:
        self.wall = wall
        self.elapsed = 0.0

    def now(self) -> float:
        return self.wall

    def steady(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.wall += max(seconds, 0.0)
        self.elapsed += max(seconds, 0.0)

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        try:
            return arrivals.get_nowait()
        except queue.Empty:
            self.sleep(seconds)
            return None

    def jump(self, seconds: float) -> None:
        """The wall clock is set to another time; nothing else passes."""
        self.wall += seconds
