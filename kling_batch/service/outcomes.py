"""What an answer, or its absence, means: the pure decisions over the service's replies.

The table is the design's: what happened to the POST, and what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, TypeVar

from kling_batch.service.contracts import (
    ContractShape,
    Receipt,
    RemoteJob,
    Unreadable,
    error_text,
    history_page,
)
from kling_batch.service.transport import HttpResponse, NothingSent, Unanswered
from kling_batch.structs import dataclass

T = TypeVar("T")

RETRY_AFTER_MAX = 3600.0
_RAW_MAX = 20_000


class Verdict(Enum):
    """What a submission's outcome is; the values are what the state file keeps."""

    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    KEY_REFUSED = "key_refused"
    OUT_OF_CREDITS = "out_of_credits"
    WRONG_ADDRESS = "wrong_address"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """One POST's outcome. `raw` is the body where it could not be understood."""

    verdict: Verdict
    reason: str = ""
    receipt: Receipt | None = None
    http_status: int | None = None
    retry_after: float | None = None
    raw: str = ""


class Trouble(Enum):
    """Why a GET told nothing."""

    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad answer"
    NOT_FOUND = "not found"
    KEY_REFUSED = "key refused"
    RATE_LIMITED = "rate limited"


@dataclass(frozen=True, slots=True)
class Untold:
    """A GET that told nothing of what was asked."""

    trouble: Trouble
    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Jobs as one page of the history tells them, newest first.

    `clock_ahead`: seconds by which the service's clock is before ours; None where it is not told.
    """

    jobs: tuple[RemoteJob, ...]
    clock_ahead: float | None


_PLAIN = {
    400: Verdict.REJECTED,
    401: Verdict.KEY_REFUSED,
    402: Verdict.OUT_OF_CREDITS,
    403: Verdict.KEY_REFUSED,
    404: Verdict.WRONG_ADDRESS,
    405: Verdict.WRONG_ADDRESS,
    410: Verdict.WRONG_ADDRESS,
    413: Verdict.REJECTED,
    415: Verdict.REJECTED,
    422: Verdict.REJECTED,
    429: Verdict.RATE_LIMITED,
}


def judge_submission(
    contract: ContractShape, result: HttpResponse | NothingSent | Unanswered, now: float
) -> SubmissionOutcome:
    """What one POST came to. What is not plainly a yes or a no is unknown."""
    if isinstance(result, NothingSent):
        return SubmissionOutcome(Verdict.NOT_SENT, str(result))
    if isinstance(result, Unanswered):
        return SubmissionOutcome(Verdict.UNKNOWN, str(result))
    if 200 <= result.status < 300:
        return _judge_success(contract, result)
    body = _json_or_none(result)
    reason = error_text(body) or f"the service answered {result.status}"
    verdict = _PLAIN.get(result.status, Verdict.UNKNOWN)
    return SubmissionOutcome(
        verdict,
        reason,
        http_status=result.status,
        retry_after=retry_after(result, now),
        raw=_raw(result) if verdict is Verdict.UNKNOWN else "",
    )


def _judge_success(contract: ContractShape, response: HttpResponse) -> SubmissionOutcome:
    try:
        receipt = contract.receipt(response.json())
    except ValueError as error:  # Unreadable is one
        reason = str(error) if isinstance(error, Unreadable) else "the answer is no JSON"
        return SubmissionOutcome(
            Verdict.UNKNOWN, reason, http_status=response.status, raw=_raw(response)
        )
    return SubmissionOutcome(Verdict.ACCEPTED, receipt=receipt, http_status=response.status)


def judge_status(
    contract: ContractShape,
    job_id: str,
    result: HttpResponse | NothingSent | Unanswered,
    now: float,
) -> RemoteJob | Untold:
    """What a status call tells of the job."""
    return _judge_get(result, now, lambda body: contract.status(body, job_id))


def judge_history(
    result: HttpResponse | NothingSent | Unanswered, now: float
) -> HistoryPage | Untold:
    """The jobs that a page of the history tells, and how the service's clock stands to ours."""
    jobs = _judge_get(result, now, history_page)
    if isinstance(jobs, Untold):
        return jobs
    told = clock_ahead(result, now) if isinstance(result, HttpResponse) else None
    return HistoryPage(jobs, told)


def _judge_get(
    result: HttpResponse | NothingSent | Unanswered,
    now: float,
    read: Callable[[Any], T],
) -> T | Untold:
    if isinstance(result, (NothingSent, Unanswered)):
        return Untold(Trouble.UNREACHABLE, str(result))
    if 200 <= result.status < 300:
        try:
            return read(result.json())
        except ValueError as error:
            return Untold(Trouble.BAD_ANSWER, str(error) or "the answer is no JSON")
    trouble = {
        401: Trouble.KEY_REFUSED,
        403: Trouble.KEY_REFUSED,
        404: Trouble.NOT_FOUND,
        429: Trouble.RATE_LIMITED,
    }.get(result.status, Trouble.BAD_ANSWER)
    reason = error_text(_json_or_none(result)) or f"the service answered {result.status}"
    return Untold(trouble, reason, retry_after(result, now))


def retry_after(response: HttpResponse, now: float) -> float | None:
    """Seconds that the service asks to wait, from 1 to 3,600; None where it asks nothing sane."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        until = _date(text)
        if until is None:
            return None
        seconds = until - now - (clock_ahead(response, now) or 0.0)
    if not seconds >= 0:  # negative, or not a number
        return None
    return min(max(seconds, 1.0), RETRY_AFTER_MAX)


def clock_ahead(response: HttpResponse, now: float) -> float | None:
    """Seconds by which the service's clock is before ours; None where it does not tell its time."""
    at = _date(response.headers.get("date", ""))
    return None if at is None else at - now


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _json_or_none(response: HttpResponse) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _raw(response: HttpResponse) -> str:
    return response.body[:_RAW_MAX].decode("utf-8", "replace")
