"""When a job is asked for next, and when it counts as gone. Pure; all figures are seconds."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

INTERVAL, INTERVAL_MAX, BACKOFF_MAX = 10.0, 60.0, 120.0
# A job that the service does not know is asked for this often before it counts as missing.
MISSING_AFTER = 5
# A job that has not ended by then is left in flight for a later run.
JOB_DEADLINE = 3 * 3600.0
UNREACHABLE_FOR = 90.0


@dataclass(frozen=True, slots=True)
class Pace:
    """`interval` is the user's, None for our own; `typical` is what jobs have taken so far."""

    interval: float | None
    typical: float

    def first(self, job_id: str) -> float:
        """From submission to the first poll: about as long as jobs take."""
        base = self.typical * 0.8 if self.interval is None else self.interval
        return base * _spread(job_id, 0)

    def next(self, job_id: str, asked: int) -> float:
        """From one poll to the next, a little longer each time."""
        base = self.interval
        if base is None:
            base = min(INTERVAL * 1.2 ** max(asked - 1, 0), INTERVAL_MAX)
        return base * _spread(job_id, asked)

    def after_trouble(self, job_id: str, bad: int, retry_after: float | None) -> float:
        """From a poll that told nothing to the next."""
        if retry_after is not None:
            return retry_after * _spread(job_id, bad)
        base = INTERVAL if self.interval is None else self.interval
        return min(base * 2.0 ** min(bad, 10), BACKOFF_MAX) * _spread(job_id, bad)

    @property
    def patience(self) -> float:
        """How long a service that can't be reached at all is borne."""
        if self.interval is None:
            return UNREACHABLE_FOR
        return min(UNREACHABLE_FOR, max(20 * self.interval, 2.0))


def _spread(job_id: str, turn: int) -> float:
    """1 to 1.15, different for each job and turn, so that polls do not come in a flock."""
    return 1 + 0.15 * (zlib.crc32(f"{job_id}/{turn}".encode()) % 1000) / 1000
