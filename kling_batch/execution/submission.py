"""What a submission's outcome makes of its job, and what to do next. Pure.

Nothing here sends anything: the runner commits the intent, makes one POST, and commits
what `settle` says before it prints or decides anything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from kling_batch.errors import ExitCode
from kling_batch.model import JobRequest
from kling_batch.service.outcomes import SubmissionOutcome, Verdict
from kling_batch.state.records import JobState, Record, moved
from kling_batch.state.store import Attempt, Happening
from kling_batch.structs import replace

NOT_SENT_TRIES = 5
UNKNOWN_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Stop:
    """Why no more is submitted in this run."""

    code: ExitCode
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The answer as it is committed: the attempt, the changed records, what happened.

    `again`: the job goes back to the head of the queue. `stop`: nothing more is submitted.
    """

    attempt: Attempt
    records: tuple[Record, ...]
    happenings: tuple[Happening, ...]
    again: bool = False
    stop: Stop | None = None


def intent(record: Record, attempt: Attempt, request: JobRequest, price: int) -> Record:
    """The record as it stands while the answer is awaited: its outcome is unknown.

    What an earlier attempt cost stays counted; its video, if there is one, stays where it is.
    """
    return moved(
        record,
        JobState.UNKNOWN,
        request=request,
        fingerprint=attempt.fingerprint,
        credits_planned=price,
        credits_spent=record.committed,
        job_id=None,
        attempts=record.attempts + 1,
        credits_charged=None,
        credits_refunded=None,
        result_url=None,
        sha256=None,
        size=None,
        submitted_at=attempt.sent_at,
        finished_at=None,
    )


def settle(
    record: Record,
    attempt: Attempt,
    outcome: SubmissionOutcome,
    now: float,
    taken: Collection[str],
    ids_in_use: Collection[str],
) -> Settlement:
    """What the outcome makes of the record. `taken` are job ids that other jobs have."""
    attempt = replace(
        attempt,
        verdict=outcome.verdict.value,
        answered_at=now,
        http_status=outcome.http_status,
        raw=outcome.raw,
        reason=outcome.reason,
        job_ids=outcome.receipt.job_ids if outcome.receipt else (),
    )
    if outcome.verdict is Verdict.ACCEPTED:
        return _accepted(record, attempt, outcome, now, taken, ids_in_use)
    if outcome.verdict is Verdict.UNKNOWN:
        told = Happening(now, "unknown", record.id, {"reason": outcome.reason})
        return Settlement(attempt, (replace(record, error=outcome.reason),), (told,))
    if outcome.verdict is Verdict.REJECTED:
        rejected = moved(record, JobState.REJECTED, error=outcome.reason, finished_at=now)
        told = Happening(now, "rejected", record.id, {"error": outcome.reason})
        return Settlement(attempt, (rejected,), (told,))
    planned = moved(
        record, JobState.PLANNED, submitted_at=None, attempts=_uncounted(record, outcome)
    )
    told = Happening(now, outcome.verdict.value, record.id, {"reason": outcome.reason})
    return Settlement(attempt, (planned,), (told,), again=True, stop=_stop(outcome))


def _uncounted(record: Record, outcome: SubmissionOutcome) -> int:
    return record.attempts - (outcome.verdict is Verdict.NOT_SENT)


def _stop(outcome: SubmissionOutcome) -> Stop | None:
    if outcome.verdict is Verdict.KEY_REFUSED:
        return Stop(
            ExitCode.KEY,
            f"the service refused the key: {outcome.reason}",
            "check ULAZAI_API_KEY; a new key is made on the service's account page",
        )
    if outcome.verdict is Verdict.OUT_OF_CREDITS:
        return Stop(ExitCode.BUDGET, f"out of credits: {outcome.reason}", "top up the account")
    if outcome.verdict is Verdict.WRONG_ADDRESS:
        return Stop(
            ExitCode.STOPPED,
            f"the service does not know the model or the path: {outcome.reason}",
            "check ULAZAI_BASE_URL and the manifest's service.contract",
        )
    return None


def _accepted(
    record: Record,
    attempt: Attempt,
    outcome: SubmissionOutcome,
    now: float,
    taken: Collection[str],
    ids_in_use: Collection[str],
) -> Settlement:
    assert outcome.receipt is not None  # noqa: S101 -- an accepted outcome has one
    receipt = outcome.receipt
    fresh = [one for one in receipt.job_ids if one not in taken]
    happenings = [
        Happening(now, "conflict", record.id, {"job_id": one})
        for one in receipt.job_ids
        if one in taken
    ]
    if not fresh:
        reason = f"the service answered with job {receipt.job_ids[0]}, which another job has"
        told = Happening(now, "unknown", record.id, {"reason": reason})
        unknown = replace(attempt, verdict=Verdict.UNKNOWN.value, reason=reason)
        return Settlement(unknown, (replace(record, error=reason),), (*happenings, told))
    submitted = moved(
        record,
        JobState.SUBMITTED,
        job_id=fresh[0],
        credits_charged=receipt.credits_used,
    )
    detail = {
        "job_id": fresh[0],
        "credits": record.credits_planned,
        "credits_remaining": receipt.credits_remaining,
    }
    happenings.append(Happening(now, "submitted", record.id, detail))
    extras = _extras(submitted, fresh[1:], ids_in_use)
    happenings += [Happening(now, "extra", one.id, {"job_id": one.job_id}) for one in extras]
    return Settlement(attempt, (submitted, *extras), tuple(happenings))


def _extras(record: Record, job_ids: list[str], ids_in_use: Collection[str]) -> list[Record]:
    """A record of its own for every job that came unasked, so that its video is fetched too."""
    return [
        _beside(record, number, job_id, credits_charged=None)
        for job_id, number in zip(job_ids, _free_numbers(record, ids_in_use), strict=False)
    ]


def further_results(
    record: Record, urls: Sequence[str], ids_in_use: Collection[str]
) -> list[Record]:
    """A record of its own for every result of a finished job after its first one.

    The job's id goes on with `#` and the result's number, which no id of the service holds.
    """
    if record.extra_of is not None and "#" in (record.job_id or ""):
        return []
    return [
        _beside(
            record,
            number,
            f"{record.job_id}#{place}",
            result_url=url,
            credits_planned=0,
            credits_charged=0,
            credits_refunded=None,
        )
        for (place, url), number in zip(
            enumerate(urls[1:], 1), _free_numbers(record, ids_in_use), strict=False
        )
    ]


def result_of(record: Record) -> tuple[str, int]:
    """The service's id of the job, and which of its results this record is for (from 0)."""
    job_id, _, place = (record.job_id or "").partition("#")
    return job_id, int(place or 0)


def _free_numbers(record: Record, ids_in_use: Collection[str]) -> Iterator[int]:
    return (number for number in count(1) if f"{record.id}.extra{number}" not in ids_in_use)


def _beside(record: Record, number: int, job_id: str, **changes: Any) -> Record:
    path = PurePosixPath(record.output)
    return replace(
        record,
        id=f"{record.id}.extra{number}",
        job_id=job_id,
        output=path.with_name(f"{path.stem}.extra{number}{path.suffix}").as_posix(),
        extra_of=record.extra_of or record.id,
        credits_spent=0,
        attempts=0,
        **changes,
    )


def adopted(record: Record, attempt: Attempt, job_id: str, now: float) -> Settlement:
    """An unknown submission that turned out to be this job."""
    return Settlement(
        replace(attempt, verdict=Verdict.UNKNOWN.value, resolution=f"adopted {job_id}"),
        (moved(record, JobState.SUBMITTED, job_id=job_id, error=None),),
        (Happening(now, "adopted", record.id, {"job_id": job_id}),),
    )


def not_made(record: Record, attempt: Attempt, resolution: str, now: float) -> Settlement:
    """An unknown submission that the service did not make, or that the user gives up."""
    spent = record.committed if resolution == "forgotten" else record.credits_spent
    planned = moved(
        record,
        JobState.PLANNED,
        submitted_at=None,
        job_id=None,
        error=None,
        credits_charged=None,
        credits_refunded=None,
        credits_spent=spent,
    )
    return Settlement(
        replace(attempt, verdict=Verdict.UNKNOWN.value, resolution=resolution),
        (planned,),
        (Happening(now, "planned_again", record.id, {"reason": resolution}),),
    )
