"""When submissions can go and when a batch will be done, under the hourly limit. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kling_batch.service.ledger import HOUR
from kling_batch.structs import dataclass

# The service says "one to a few minutes a job" (api/CONTRACT.md); used until this state has
# measured its own.
TYPICAL_SECONDS = 90.0
SUBMIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Wave:
    """Submissions that go together: how many, and when (seconds since the epoch)."""

    jobs: int
    at: float


@dataclass(frozen=True, slots=True)
class Timetable:
    """Times are seconds since the epoch; None where nothing is to be submitted or awaited."""

    submissions_per_hour: int
    first: float | None
    last: float | None
    finished_by: float | None
    waves: tuple[Wave, ...] = ()


def make_timetable(
    *,
    submissions: int,
    in_flight: int,
    now: float,
    per_hour: int,
    max_in_flight: int,
    ages: Sequence[float] = (),
    blocked_for: float = 0.0,
    typical_seconds: float = TYPICAL_SECONDS,
) -> Timetable:
    """The times at which the submissions go, and the end of the last job.

    `ages` are the seconds since each submission that the account's limit still counts. A
    submission may go when fewer than `per_hour` lie within the hour before it, and when one
    of the `max_in_flight` places is free.
    """
    if not submissions:
        finished = now + typical_seconds if in_flight else None
        return Timetable(per_hour, None, None, finished)
    # The submission that must be an hour old, and the job that must have ended, before the next
    # may go: `per_hour` and `max_in_flight` places before it.
    counted = sorted(now - age for age in ages)
    places = [now] * min(in_flight, max_in_flight)
    hour_ago, freed = len(counted) - per_hour, len(places) - max_in_flight
    at = now + blocked_for
    for number in range(submissions):
        if hour_ago + number >= 0 and counted[hour_ago + number] + HOUR > at:
            at = counted[hour_ago + number] + HOUR
        if freed + number >= 0 and places[freed + number] + typical_seconds > at:
            at = places[freed + number] + typical_seconds
        counted.append(at)
        places.append(at)
    times = counted[len(ages) :]
    return Timetable(
        per_hour,
        times[0],
        times[-1],
        times[-1] + typical_seconds + SUBMIT_SECONDS,
        _waves(times, typical_seconds),
    )


def _waves(times: Sequence[float], gap: float) -> tuple[Wave, ...]:
    """Times that lie close together, as one wave each."""
    starts = [0]
    starts += [n for n in range(1, len(times)) if times[n] - times[n - 1] > 2 * gap]
    ends = [*starts[1:], len(times)]
    return tuple(Wave(end - start, times[start]) for start, end in zip(starts, ends, strict=True))
