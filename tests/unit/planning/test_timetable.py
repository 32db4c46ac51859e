"""When submissions go under the hourly limit, and when the batch is done."""

from __future__ import annotations

from typing import Any

from kling_batch.planning.timetable import TYPICAL_SECONDS, Timetable, make_timetable

NOW = 1_790_000_000.0


def timetable(submissions: int, **more: Any) -> Timetable:
    known: dict[str, Any] = {"in_flight": 0, "now": NOW, "per_hour": 24, "max_in_flight": 16}
    return make_timetable(submissions=submissions, **{**known, **more})


def test_sixty_jobs_are_twenty_four_now_twenty_four_later_and_twelve() -> None:
    planned = timetable(60)
    assert [wave.jobs for wave in planned.waves] == [24, 24, 12]
    assert [round((wave.at - NOW) / 3600, 1) for wave in planned.waves] == [0.0, 1.0, 2.0]
    assert planned.first == NOW
    assert planned.last is not None
    assert planned.finished_by is not None
    assert NOW + 7200 <= planned.last <= planned.finished_by <= NOW + 7200 + 300


def test_what_was_submitted_within_the_hour_counts() -> None:
    planned = timetable(10, ages=[1800.0] * 20)
    assert [wave.jobs for wave in planned.waves] == [4, 6]
    assert planned.waves[1].at == NOW + 1800


def test_a_block_of_the_service_is_waited_for() -> None:
    assert timetable(1, blocked_for=500.0).first == NOW + 500


def test_places_in_flight_are_waited_for() -> None:
    planned = timetable(4, max_in_flight=2)
    assert planned.last == NOW + TYPICAL_SECONDS
    busy = timetable(1, in_flight=16)
    assert busy.first == NOW + TYPICAL_SECONDS


def test_nothing_to_submit_has_no_times_but_an_end() -> None:
    planned = timetable(0, in_flight=3)
    assert (planned.first, planned.last, planned.waves) == (None, None, ())
    assert planned.finished_by == NOW + TYPICAL_SECONDS
    assert timetable(0).finished_by is None


def test_a_hundred_thousand_are_timed_at_once() -> None:
    planned = timetable(100_000)
    assert sum(wave.jobs for wave in planned.waves) == 100_000
