"""Time, as one seam: wall time for records, steady time for deadlines and ages, waiting."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What the rest may know of time. All figures are seconds."""

    @property
    def era(self) -> str:
        """Names the run of steady time: two `steady` figures compare only within one era."""

    def now(self) -> float:
        """Wall time since the epoch; may jump either way."""

    def steady(self) -> float:
        """Time since the era's start; never goes back and counts a machine's sleep."""

    def sleep(self, seconds: float) -> None:
        """Return after that long."""

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        """The next arrival, or None when none came in that time."""


class Moment(NamedTuple):
    """A time taken down to be looked back at, by the wall and by steady time. Seconds."""

    wall: float
    era: str
    steady: float


def moment(clock: Clock) -> Moment:
    """The time now, to be kept."""
    return Moment(clock.now(), clock.era, clock.steady())


def age(past: Moment, clock: Clock) -> float:
    """Seconds since then; where another era began meanwhile, by the wall: that may have jumped."""
    if past.era == clock.era:
        return clock.steady() - past.steady
    return clock.now() - past.wall


class SystemClock:
    """The machine's time; an era lasts from one boot to the next."""

    def __init__(self) -> None:
        self.era = _boot_id()

    def now(self) -> float:
        return time.time()

    def steady(self) -> float:
        return time.clock_gettime(_STEADY)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        try:
            return arrivals.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None


class FastClock:
    """Time sped up: `speed` seconds pass in one.

    It lets ``run --simulate`` keep every interval of a real run (polls, back-off,
    job times) and still be over in seconds. Its era ends with the process.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._wall_start = time.time()
        self._start = time.monotonic()
        self.era = _own_era()

    def now(self) -> float:
        return self._wall_start + self.steady()

    def steady(self) -> float:
        return (time.monotonic() - self._start) * self._speed

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds / self._speed)

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        try:
            return arrivals.get(timeout=max(0.0, seconds / self._speed))
        except queue.Empty:
            return None


# CLOCK_BOOTTIME goes on while the machine sleeps; where it is missing, MONOTONIC must do.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # No boot id on this system: an era of this process alone, so ages use wall time.
        return _own_era()


def _own_era() -> str:
    import uuid

    return uuid.uuid4().hex
