"""Records become rows of takes, totals and a curve of what was spent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from support.gallery import FACTS, REQUEST, record, view

from kling_batch.state.records import JobState


def test_takes_of_one_pair_stand_together_in_their_order() -> None:
    other = record("b", pair="b")
    report = view(record("hero.take2", take=2), other, record("hero"))
    assert [row.name for row in report.rows] == ["hero", "b"]
    assert [take.id for take in report.rows[0].takes] == ["hero", "hero.take2"]


def test_takes_with_other_inputs_get_a_row_of_their_own() -> None:
    later = replace(REQUEST, image_url="https://cdn.example.com/b.png")
    report = view(record(), record("hero.take2", take=2, request=later))
    assert [row.image.url for row in report.rows] == [REQUEST.image_url, later.image_url]


def test_a_prompt_that_differs_is_shown_with_each_take() -> None:
    alike = view(record(), record("hero.take2", take=2)).rows[0]
    assert (alike.prompt, alike.takes[0].prompt) == ("a waltz", "")
    apart = view(
        record(), record("hero.take2", take=2, request=replace(REQUEST, prompt="a bow"))
    ).rows[0]
    assert (apart.prompt, [take.prompt for take in apart.takes]) == ("", ["a waltz", "a bow"])


def test_a_job_that_came_unasked_stands_with_the_one_that_it_came_with() -> None:
    extra = record("hero.extra", pair="", extra_of="hero")
    assert len(view(record(), extra).rows) == 1


def test_the_totals_count_earlier_attempts_and_refunds() -> None:
    failed = record("b", JobState.FAILED, credits_refunded=60)
    totals = view(record(credits_spent=60), failed).totals
    assert (totals.jobs, totals.done) == (2, 1)
    assert (totals.planned, totals.charged, totals.refunded, totals.spent) == (120, 120, 60, 120)


def test_the_credits_of_the_states_add_up_to_what_is_spent_and_what_is_planned() -> None:
    planned = record("c", JobState.PLANNED, credits_charged=None, submitted_at=None)
    totals = view(record(), record("b", JobState.FAILED, credits_refunded=60), planned).totals
    assert {one.state: one.credits for one in totals.by_state} == {
        "planned": 60,
        "downloaded": 60,
        "failed": 0,
    }


def test_spending_grows_with_submissions_and_shrinks_with_refunds() -> None:
    failed = record("b", JobState.FAILED, submitted_at=1010.0, credits_refunded=60)
    assert view(record(), failed).spending == ((1000.0, 60), (1010.0, 120), (1084.0, 60))


def test_dollars_are_shown_where_the_rate_is_known() -> None:
    assert view(record()).totals.usd == ""
    priced = replace(FACTS, usd_per_credit=Decimal("0.0092"))
    assert view(record(), facts=priced).totals.usd == "0.55"


def test_times_and_how_long_it_took() -> None:
    take = view(record()).rows[0].takes[0]
    assert take.submitted is not None
    assert take.submitted.text == "1 Jan 1970, 00:16:40"
    assert take.submitted.iso == "1970-01-01T00:16:40+00:00"
    assert take.took == "1 min 24 s"


def test_a_video_is_linked_only_once_it_is_downloaded() -> None:
    assert view(record()).rows[0].takes[0].video == "hero.mp4"
    assert view(record(state=JobState.COMPLETED)).rows[0].takes[0].video == ""


def test_decisions_of_the_manifest_are_taken_and_other_words_left() -> None:
    report = view(record(), decisions={"hero": "pick", "gone": "redo", "x": "burn"})
    assert report.rows[0].takes[0].decision == "pick"
    assert report.decisions == {"hero": "pick", "gone": "redo"}


def test_what_can_be_decided_depends_on_there_being_a_video() -> None:
    words = {
        state: view(record(state=state)).rows[0].takes[0].words
        for state in (JobState.DOWNLOADED, JobState.FAILED, JobState.UNKNOWN)
    }
    assert words == {
        JobState.DOWNLOADED: ("pick", "reject", "redo"),
        JobState.FAILED: ("redo",),
        JobState.UNKNOWN: (),
    }


def test_the_result_url_of_the_service_is_not_in_the_view() -> None:
    signed = record(result_url="https://results.example.com/x.mp4?signature=abc")
    assert "signature" not in repr(view(signed))
