"""The pure decisions of a run: budget, charges, polls, containers, settlements, the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kling_batch.errors import ExitCode
from kling_batch.execution.budget import (
    Limits,
    committed,
    limits_of,
    refund_of,
    refusal,
    wrong_charge,
)
from kling_batch.execution.container import flaw
from kling_batch.execution.polling import BACKOFF_MAX, INTERVAL_MAX, Pace
from kling_batch.execution.reconciliation import (
    READINGS,
    Claim,
    Course,
    Evidence,
    Finding,
    Inquiry,
    Reading,
    balance_dropped,
    course,
    weigh,
)
from kling_batch.execution.submission import (
    adopted,
    further_results,
    intent,
    not_made,
    result_of,
    settle,
)
from kling_batch.model import Budget, JobRequest
from kling_batch.service.contracts import Phase, Receipt, RemoteJob
from kling_batch.service.ledger import Balance
from kling_batch.service.outcomes import SubmissionOutcome, Verdict
from kling_batch.simulator.media import mp4
from kling_batch.state.records import JobState, Record
from kling_batch.state.store import Attempt

REQUEST = JobRequest("a fox", "https://x/i.png", "https://x/v.mp4", "video", "720p", 5)
S = JobState
NOW = 10_000.0


def record(job: str = "j1", state: JobState = S.UNKNOWN, **changes: Any) -> Record:
    known = {"credits_planned": 60, "output": f"outputs/{job}.mp4", **changes}
    return Record(id=job, fingerprint=REQUEST.fingerprint(), request=REQUEST, state=state, **known)


ATTEMPT = Attempt("a", "j1", REQUEST.fingerprint(), NOW)


# -- the budget ------------------------------------------------------------------------------------


def test_the_tighter_of_two_budgets_is_the_bound() -> None:
    assert limits_of(Budget(300, 50), 200) == Limits(200, 50)
    assert limits_of(Budget(100), 200) == Limits(100, None)
    assert limits_of(Budget(), None) == Limits()


@pytest.mark.parametrize(
    ("spent", "limit", "refused"), [(0, 60, False), (1, 60, True), (0, 59, True), (0, None, False)]
)
def test_a_price_fits_into_the_budget_or_not(spent: int, limit: int | None, refused: bool) -> None:
    assert bool(refusal(60, spent, None, Limits(limit))) is refused


@pytest.mark.parametrize(
    ("balance", "refused"), [(160, False), (159, True), (None, False), (0, True)]
)
def test_a_price_leaves_the_balance_to_keep_or_not(balance: int | None, refused: bool) -> None:
    assert bool(refusal(60, 0, balance, Limits(None, 100))) is refused


def test_all_that_may_have_been_charged_is_summed() -> None:
    records = [
        record(),
        record(state=S.SUBMITTED),
        record(state=S.FAILED, credits_charged=60, credits_refunded=60),
        record(state=S.PLANNED, credits_spent=60),
    ]
    assert committed(records) == 180


@pytest.mark.parametrize(
    ("charged", "seconds", "wrong"),
    [
        (None, None, False),
        (60, None, False),
        (60, 4, False),
        (48, 4, False),
        (48, None, True),
        (48, 3, True),
        (72, 6, True),
        (100, 5, True),
        (0, None, True),
    ],
)
def test_a_charge_shows_that_the_rates_are_wrong_or_not(
    charged: int | None, seconds: int | None, wrong: bool
) -> None:
    assert bool(wrong_charge(record(credits_charged=charged), seconds)) is wrong


@pytest.mark.parametrize(
    ("told", "charged", "refund"),
    [(True, None, 60), (True, 90, 90), (False, 90, 0), (None, 90, None), (30, 90, 30)],
)
def test_a_refund_is_what_came_back(told: Any, charged: int | None, refund: int | None) -> None:
    remote = RemoteJob("a", Phase.FAILED, credits_charged=charged, refunded=told)
    assert refund_of(remote, 60) == refund


# -- polls -----------------------------------------------------------------------------------------


def test_the_first_poll_waits_about_as_long_as_jobs_take() -> None:
    assert 80 <= Pace(None, 100.0).first("j1") <= 100
    assert 5 <= Pace(5.0, 100.0).first("j1") <= 6


def test_polls_spread_and_slow_down_within_bounds() -> None:
    pace = Pace(None, 90.0)
    waits = [pace.next("j1", asked) for asked in range(1, 60)]
    assert waits[0] < waits[20]
    assert max(waits) <= INTERVAL_MAX * 1.15
    assert len({pace.first(f"j{n}") for n in range(50)}) > 40


def test_trouble_is_backed_off_within_bounds() -> None:
    pace = Pace(None, 90.0)
    waits = [pace.after_trouble("j1", bad, None) for bad in range(1, 40)]
    assert max(waits) <= BACKOFF_MAX * 1.15
    assert 300 <= pace.after_trouble("j1", 1, 300.0) <= 345


# -- containers ------------------------------------------------------------------------------------

VIDEO = mp4(3, 1)


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (VIDEO, True),
        (b"\x1a\x45\xdf\xa3" + bytes(100), True),
        (b"", False),
        (VIDEO[:-1], False),
        (VIDEO[:100], False),
        (VIDEO[:8], False),
        (b"<!doctype html><html>", False),
        (b'{"error": "expired"}', False),
        (b"  \n<html>", False),
        (bytes(1000), False),
        (b"\xff\xd8\xff\xe0" + bytes(100), False),
    ],
)
def test_a_whole_video_is_told_from_anything_else(
    folder: Path, content: bytes, whole: bool
) -> None:
    path = folder / "r.mp4"
    path.write_bytes(content)
    assert (flaw(path) == "") is whole


# -- settlements -----------------------------------------------------------------------------------


def settled(outcome: SubmissionOutcome, taken: Sequence[str] = (), ids: Sequence[str] = ()) -> Any:
    return settle(record(attempts=1), ATTEMPT, outcome, NOW, taken, ids)


@pytest.mark.parametrize(
    ("verdict", "state", "again", "stop"),
    [
        (Verdict.NOT_SENT, S.PLANNED, True, None),
        (Verdict.RATE_LIMITED, S.PLANNED, True, None),
        (Verdict.KEY_REFUSED, S.PLANNED, True, ExitCode.KEY),
        (Verdict.OUT_OF_CREDITS, S.PLANNED, True, ExitCode.BUDGET),
        (Verdict.WRONG_ADDRESS, S.PLANNED, True, ExitCode.STOPPED),
        (Verdict.REJECTED, S.REJECTED, False, None),
        (Verdict.UNKNOWN, S.UNKNOWN, False, None),
    ],
)
def test_every_verdict_makes_one_thing_of_the_job(
    verdict: Verdict, state: JobState, again: bool, stop: ExitCode | None
) -> None:
    settlement = settled(SubmissionOutcome(verdict, "why"))
    assert settlement.records[0].state is state
    assert settlement.again is again
    assert (settlement.stop and settlement.stop.code) == stop
    assert settlement.attempt.verdict == verdict.value
    assert settlement.happenings


def test_more_ids_than_asked_for_get_records_and_names_of_their_own() -> None:
    outcome = SubmissionOutcome(Verdict.ACCEPTED, receipt=Receipt(("a", "b", "c")))
    settlement = settled(outcome, ids=["j1.extra1"])
    assert [(r.id, r.job_id, r.output) for r in settlement.records] == [
        ("j1", "a", "outputs/j1.mp4"),
        ("j1.extra2", "b", "outputs/j1.extra2.mp4"),
        ("j1.extra3", "c", "outputs/j1.extra3.mp4"),
    ]
    assert {r.extra_of for r in settlement.records[1:]} == {"j1"}


def test_an_id_that_is_taken_is_told_and_not_reassigned() -> None:
    outcome = SubmissionOutcome(Verdict.ACCEPTED, receipt=Receipt(("a",)))
    settlement = settled(outcome, taken=["a"])
    assert settlement.records[0].state is S.UNKNOWN
    assert settlement.records[0].job_id is None
    assert settlement.attempt.verdict == "unknown"
    assert "conflict" in {one.name for one in settlement.happenings}
    mixed = SubmissionOutcome(Verdict.ACCEPTED, receipt=Receipt(("a", "b")))
    assert settled(mixed, taken=["a"]).records[0].job_id == "b"


def test_an_intent_forgets_the_last_attempt_and_not_its_cost() -> None:
    before = record(
        state=S.DOWNLOADED, job_id="a", credits_charged=60, sha256="0", result_url="u", size=1
    )
    after = intent(before, ATTEMPT, replace(REQUEST, duration_seconds=6), 72)
    assert after.state is S.UNKNOWN
    assert (after.job_id, after.sha256, after.result_url, after.size) == (None,) * 4
    assert (after.credits_spent, after.credits_planned, after.committed) == (60, 72, 132)


def test_what_was_not_made_costs_nothing_and_what_is_forgotten_its_price() -> None:
    known = record(state=S.MISSING, job_id="a", credits_charged=60, credits_spent=30)
    free = not_made(known, ATTEMPT, "not charged", NOW).records[0]
    given_up = not_made(known, ATTEMPT, "forgotten", NOW).records[0]
    assert (free.committed, free.job_id) == (30, None)
    assert given_up.committed == 90


def test_what_is_adopted_is_followed_like_any_other() -> None:
    settlement = adopted(record(error="reset"), ATTEMPT, "a", NOW)
    assert settlement.records[0].state is S.SUBMITTED
    assert (settlement.records[0].job_id, settlement.records[0].error) == ("a", None)


def test_further_results_are_records_that_know_their_place() -> None:
    made = record(state=S.COMPLETED, job_id="a", credits_charged=60)
    first, second = further_results(made, ["u0", "u1", "u2"], ["j1"])
    assert (first.id, first.result_url, first.committed) == ("j1.extra1", "u1", 0)
    assert (result_of(first), result_of(second)) == (("a", 1), ("a", 2))
    assert result_of(made) == ("a", 0)
    assert further_results(first, ["u0", "u1", "u2"], []) == []


# -- the history -----------------------------------------------------------------------------------

CLAIM = Claim(replace(ATTEMPT, balance_before=1000), REQUEST, frozenset({"older"}))


def remote(job_id: str = "new", at: float | None = NOW + 1, **changes: Any) -> RemoteJob:
    known = {"prompt": "a fox", **changes}
    return RemoteJob(job_id, Phase.PENDING, created_at=at, **known)


OLDER = remote("older", NOW - 50)


def evidence(*told: RemoteJob, claim: Claim = CLAIM, ends: bool = True, **more: Any) -> Evidence:
    known = {"owned": {"older", "younger"}, "ours": {"older": NOW - 50}, **more}
    reading = Reading(told, reaches_end=ends)
    return weigh([claim], reading, **{"lists_our_contract": True, **known})["j1"]


def test_the_one_that_fits_is_found() -> None:
    assert evidence(remote(), OLDER) == Evidence(Finding.FOUND, ("new",))


def test_two_that_fit_are_told_both() -> None:
    found = evidence(remote("x"), remote("y"), OLDER)
    assert (found.finding, set(found.job_ids)) == (Finding.SEVERAL, {"x", "y"})


@pytest.mark.parametrize(
    "unlike",
    [
        {"prompt": "a hare"},
        {"quality_mode": "1080p"},
        {"duration_seconds": 6},
        {"image_urls": ("https://x/other.png",)},
        {"video_urls": ("https://x/other.mp4",)},
        {"job_id": "younger"},
    ],
)
def test_what_does_not_fit_is_not_it(unlike: dict[str, Any]) -> None:
    told = remote(**unlike) if "job_id" not in unlike else remote(unlike["job_id"])
    assert evidence(told, OLDER).finding is Finding.NOTHING


def test_nothing_is_proved_by_a_list_that_reaches_back() -> None:
    assert evidence(OLDER).finding is Finding.NOTHING
    assert evidence(OLDER, ends=False).finding is Finding.NOTHING
    assert evidence(remote("z", NOW - 9000, prompt="x"), ours={}).finding is Finding.NOTHING


def test_an_empty_history_proves_it_only_where_nothing_could_be_cut() -> None:
    claim = replace(CLAIM, earlier=frozenset())
    assert evidence(claim=claim, ours={}).finding is Finding.NOTHING
    assert evidence(claim=claim, ours={"x": NOW + 5}).finding is Finding.UNSURE
    assert evidence(remote("younger", prompt="x"), claim=claim, ours={}).exposed


@pytest.mark.parametrize(
    ("told", "more", "why"),
    [
        ((remote("x", prompt=None), OLDER), {}, "no prompts"),
        ((remote("x", None, prompt="x"), OLDER), {}, "no times"),
        ((OLDER, remote("x", prompt="x")), {}, "order of time"),
        ((remote("x", NOW + 5000), OLDER), {}, "but for its time"),
        ((remote("x", NOW - 5000), remote("z", NOW - 9000)), {}, "but for its time"),
        ((OLDER,), {"ours": {"older": NOW - 50, "younger": NOW + 5}}, "surely made"),
        ((remote("x", prompt="x"),), {"ours": {}}, "reach back"),
        (
            (remote("z", NOW - 9000, prompt="x"),),
            {"lists_our_contract": False, "ours": {}},
            "legacy",
        ),
    ],
)
def test_every_doubt_leaves_it_unsure(told: Any, more: dict[str, Any], why: str) -> None:
    found = evidence(*told, **more)
    assert found.finding is Finding.UNSURE
    assert why in found.reason


def inquiry(*findings: Finding) -> Inquiry:
    made = Inquiry(begun=0.0)
    for finding in findings:
        made = made.after(Evidence(finding, ("x",) if finding is Finding.FOUND else ()))
    return made


NOTHING, UNSURE = Finding.NOTHING, Finding.UNSURE


@pytest.mark.parametrize(
    ("findings", "now", "flags", "expected"),
    [
        ((Finding.FOUND,), 0.0, {}, Course.ADOPT),
        ((NOTHING,) * 3, 599.0, {}, Course.READ_AGAIN),
        ((NOTHING,) * 4, 599.0, {}, Course.READ_AGAIN),
        ((NOTHING,) * 3, 600.0, {}, Course.READ_AGAIN),
        ((NOTHING,) * 4, 600.0, {}, Course.PLAN_AGAIN),
        ((UNSURE, *(NOTHING,) * 3), 600.0, {}, Course.PLAN_AGAIN),
        ((NOTHING,) * 4, 600.0, {"dropped": True}, Course.ASK),
        ((UNSURE,) * 4, 600.0, {}, Course.ASK),
        ((NOTHING, NOTHING, NOTHING, UNSURE), 600.0, {}, Course.READ_AGAIN),
        ((UNSURE,), 0.0, {"hopeless": True}, Course.ASK),
    ],
)
def test_the_course_of_an_inquiry(
    findings: Any, now: float, flags: dict[str, bool], expected: Course
) -> None:
    known = {"dropped": False, "hopeless": False, **flags}
    assert course(inquiry(*findings), now, 600.0, **known)[0] is expected


def test_a_history_that_flickers_is_asked_about_in_the_end() -> None:
    made = inquiry(*[NOTHING, UNSURE] * READINGS)
    assert course(made, 9999.0, 600.0, dropped=False, hopeless=False)[0] is Course.ASK


def test_readings_are_spread_over_the_quiet_period() -> None:
    times = [inquiry(*(NOTHING,) * read).next_reading(600.0) for read in range(READINGS)]
    assert times == [0.0, 200.0, 400.0, 600.0]


@pytest.mark.parametrize(
    ("balance", "others", "dropped"),
    [
        (1000, [], False),
        (940, [], True),
        (941, [], False),
        (940, [record("j2", S.SUBMITTED, job_id="later")], False),
        (880, [record("j2", S.SUBMITTED, job_id="later")], True),
        (940, [record("j2", S.DOWNLOADED, job_id="older")], True),
        (910, [record("j2", S.SUBMITTED, job_id="later", credits_charged=30)], True),
        (
            1000,
            [record("j2", S.FAILED, job_id="older", credits_refunded=60, finished_at=NOW + 9)],
            True,
        ),
        (2000, [], False),
    ],
)
def test_a_balance_tells_of_a_charge_that_the_history_hides(
    balance: int, others: list[Record], dropped: bool
) -> None:
    assert balance_dropped(CLAIM, 60, Balance(balance, NOW), [record(), *others]) is dropped
    assert not balance_dropped(replace(CLAIM, attempt=ATTEMPT), 60, Balance(balance, NOW), [])
    assert not balance_dropped(CLAIM, 60, None, [])
