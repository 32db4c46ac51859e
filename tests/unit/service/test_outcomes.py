"""The table of what an answer to a POST means, row by row; and Retry-After."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from kling_batch.service.contracts import CONTRACTS, RemoteJob
from kling_batch.service.outcomes import (
    Trouble,
    Untold,
    Verdict,
    judge_history,
    judge_status,
    judge_submission,
    retry_after,
)
from kling_batch.service.transport import HttpResponse, NothingSent, Unanswered

NOW = 1_790_000_000.0
CANONICAL = CONTRACTS["canonical"]


def verdict(result: HttpResponse | NothingSent | Unanswered) -> Verdict:
    return judge_submission(CANONICAL, result, NOW).verdict


def test_nothing_sent_and_unanswered_are_told_apart() -> None:
    assert verdict(NothingSent("refused")) is Verdict.NOT_SENT
    assert verdict(Unanswered("reset")) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Verdict.REJECTED),
        (401, Verdict.KEY_REFUSED),
        (402, Verdict.OUT_OF_CREDITS),
        (403, Verdict.KEY_REFUSED),
        (404, Verdict.WRONG_ADDRESS),
        (429, Verdict.RATE_LIMITED),
        *[(status, Verdict.UNKNOWN) for status in (100, 301, 302, 303, 307, 308, 304)],
        *[(status, Verdict.UNKNOWN) for status in (406, 408, 409, 418, 423, 425, 451, 499)],
        *[(status, Verdict.UNKNOWN) for status in (500, 501, 502, 503, 504, 520, 599)],
    ],
)
def test_every_status_is_one_thing(status: int, expected: Verdict) -> None:
    assert verdict(HttpResponse(status, {}, b"<h1>whatever</h1>")) is expected


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_2xx_with_ids_is_accepted(status: int) -> None:
    outcome = judge_submission(
        CANONICAL, HttpResponse(status, {}, b'{"success": true, "job_ids": ["a"]}'), NOW
    )
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.receipt is not None
    assert outcome.receipt.job_ids == ("a",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"success": false, "error": "no"}',
        b'{"success": true}',
        b'{"success": true, "job_ids": [',
        b"[" * 200_000,
        b"NaN",
        b"1e400",
        b"9" * 5000,
        b"\xff\xfe\x00",
        b'{"success": true, "job_ids": [' + b"9" * 5000 + b"]}",
    ],
)
def test_a_2xx_that_does_not_say_what_it_promises_is_unknown_and_kept(body: bytes) -> None:
    outcome = judge_submission(CANONICAL, HttpResponse(200, {}, body), NOW)
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.raw == body[:20_000].decode("utf-8", "replace")
    assert outcome.reason


def test_the_body_of_an_unclear_answer_is_kept_and_that_of_a_clear_one_is_not() -> None:
    assert judge_submission(CANONICAL, HttpResponse(502, {}, b"<h1>"), NOW).raw == "<h1>"
    assert judge_submission(CANONICAL, HttpResponse(400, {}, b"<h1>"), NOW).raw == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 1.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("99999999", 3600.0),
        ("inf", 3600.0),
        ("1e400", 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW + 90_000, usegmt=True), 3600.0),
        (formatdate(NOW - 90, usegmt=True), None),
        ("-1", None),
        ("-inf", None),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Fri, 99 Foo 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_bounded_or_not_believed(text: str, seconds: float | None) -> None:
    assert retry_after(HttpResponse(429, {"retry-after": text}), NOW) == seconds


@pytest.mark.parametrize("ahead", [0.0, 43_200.0, -43_200.0])
def test_a_date_to_wait_for_is_by_the_services_clock(ahead: float) -> None:
    dates = {"date": NOW + ahead, "retry-after": NOW + ahead + 90}
    headers = {name: formatdate(at, usegmt=True) for name, at in dates.items()}
    assert retry_after(HttpResponse(429, headers), NOW) == 90.0


@pytest.mark.parametrize(
    ("result", "trouble"),
    [
        (NothingSent("x"), Trouble.UNREACHABLE),
        (Unanswered("x"), Trouble.UNREACHABLE),
        (HttpResponse(401), Trouble.KEY_REFUSED),
        (HttpResponse(403), Trouble.KEY_REFUSED),
        (HttpResponse(404), Trouble.NOT_FOUND),
        (HttpResponse(429), Trouble.RATE_LIMITED),
        (HttpResponse(500), Trouble.BAD_ANSWER),
        (HttpResponse(302), Trouble.BAD_ANSWER),
        (HttpResponse(200, {}, b"<html>"), Trouble.BAD_ANSWER),
        (HttpResponse(200, {}, b"{}"), Trouble.BAD_ANSWER),
    ],
)
def test_a_get_that_tells_nothing_says_why(
    result: HttpResponse | NothingSent | Unanswered, trouble: Trouble
) -> None:
    for told in (judge_status(CANONICAL, "a", result, NOW), judge_history(result, NOW)):
        assert isinstance(told, Untold)
        assert told.trouble is trouble


def test_a_status_is_judged_to_the_job_that_it_tells() -> None:
    body = b'{"success": true, "job": {"job_id": "a", "status": "processing"}}'
    assert isinstance(judge_status(CANONICAL, "a", HttpResponse(200, {}, body), NOW), RemoteJob)
