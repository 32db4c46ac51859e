"""What the history says of a submission whose outcome is unknown. Pure.

The one rule above all: a job is planned again only when it is sure that the service did not
make it. Whatever leaves a doubt leaves it unknown, for the user to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from kling_batch.model import JobRequest
from kling_batch.service.contracts import RemoteJob
from kling_batch.service.ledger import Balance
from kling_batch.state.records import Record
from kling_batch.state.store import Attempt

# The two clocks may differ, and the service may act after our time-out.
BEFORE, AFTER = 180.0, 900.0
READINGS = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """The history as read once: all pages, as far back as needed or as the list goes.

    `reaches_end`: the list ended by itself; `missing`: the service has no history.
    """

    jobs: tuple[RemoteJob, ...]
    reaches_end: bool
    missing: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A submission whose outcome is unknown, and the job that it was for."""

    attempt: Attempt
    request: JobRequest

    @property
    def since(self) -> float:
        """The earliest time at which the service can have made the job."""
        return self.attempt.sent_at - BEFORE

    @property
    def until(self) -> float:
        """The latest such time."""
        return (self.attempt.answered_at or self.attempt.sent_at) + AFTER


class Finding(Enum):
    """What one reading says of one claim."""

    FOUND = "found"
    SEVERAL = "several"
    NOTHING = "nothing"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A finding with the jobs that it speaks of, and why it is unsure."""

    finding: Finding
    job_ids: tuple[str, ...] = ()
    reason: str = ""


def weigh(
    claims: Sequence[Claim],
    reading: Reading,
    owned: Collection[str],
    ours: Mapping[str, float],
    *,
    lists_our_contract: bool,
) -> dict[str, Evidence]:
    """The evidence for every claim, by job.

    `owned` are job ids that some record has, in this state or another of the account; `ours`
    the submission times of this state's own by job id. Claims with one and the same request
    are interchangeable, so they share what is found.
    """
    if reading.failed or reading.missing:
        reason = reading.failed or "the service has no history"
        return {c.attempt.job: Evidence(Finding.UNSURE, reason=reason) for c in claims}
    evidence: dict[str, Evidence] = {}
    by_request: dict[JobRequest, list[Claim]] = {}
    for claim in sorted(claims, key=lambda one: one.attempt.sent_at):
        by_request.setdefault(claim.request, []).append(claim)
    for request, alike in by_request.items():
        since, until = alike[0].since, max(one.until for one in alike)
        free = [job for job in reading.jobs if job.job_id not in owned]
        matching = [job for job in free if _matches(job, request, since, until)]
        doubt = _doubt(reading, since, owned, ours, lists_our_contract)
        evidence.update(_share(alike, matching, doubt))
    return evidence


def _share(
    alike: Sequence[Claim], matching: Sequence[RemoteJob], doubt: str
) -> dict[str, Evidence]:
    if len(matching) > len(alike):
        ids = tuple(job.job_id for job in matching)
        reason = f"{len(matching)} jobs of the history fit"
        return {c.attempt.job: Evidence(Finding.SEVERAL, ids, reason) for c in alike}
    shared: dict[str, Evidence] = {}
    oldest_first = sorted(matching, key=lambda job: job.created_at or 0.0)
    for index, claim in enumerate(alike):
        if index < len(oldest_first):
            found = (oldest_first[index].job_id,)
            shared[claim.attempt.job] = Evidence(Finding.FOUND, found)
        elif doubt:
            shared[claim.attempt.job] = Evidence(Finding.UNSURE, reason=doubt)
        else:
            shared[claim.attempt.job] = Evidence(Finding.NOTHING)
    return shared


def _matches(job: RemoteJob, request: JobRequest, since: float, until: float) -> bool:
    """The same prompt, made in the window, and nothing that is told contradicts the request."""
    if job.prompt is None or job.prompt.strip() != request.prompt:
        return False
    if job.created_at is None or not since <= job.created_at <= until:
        return False
    told = (
        (job.quality_mode, request.quality_mode),
        (job.duration_seconds, request.duration_seconds),
        (job.image_urls[:1], (request.image_url,)),
        (job.video_urls[:1], (request.video_url,)),
    )
    return all(not theirs or theirs == wanted for theirs, wanted in told)


def _doubt(
    reading: Reading,
    since: float,
    owned: Collection[str],
    ours: Mapping[str, float],
    lists_our_contract: bool,
) -> str:
    """Why this reading can't prove that a job was not made; empty when it can."""
    if any(job.prompt is None for job in reading.jobs if job.job_id not in owned):
        return "the history tells no prompts"
    if any(job.created_at is None for job in reading.jobs):
        return "the history tells no times"
    if not _reaches_back(reading, since, owned):
        return "the history does not reach back far enough"
    shown = {job.job_id for job in reading.jobs}
    if any(at >= since and job_id not in shown for job_id, at in ours.items()):
        return "the history does not show jobs that were surely made"
    if not lists_our_contract and not shown & ours.keys():
        return "the history may not list jobs of the legacy contract"
    return ""


def _reaches_back(reading: Reading, since: float, owned: Collection[str]) -> bool:
    if any(job.created_at is not None and job.created_at < since for job in reading.jobs):
        return True
    # The list ended before it came to something older. That proves something only where all
    # that it shows is ours: among others' jobs, ours may have been pushed off its end.
    return reading.reaches_end and all(job.job_id in owned for job in reading.jobs)


class Course(Enum):
    """What to do about a claim now."""

    READ_AGAIN = "read again"
    ADOPT = "adopt"
    PLAN_AGAIN = "plan again"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The readings made so far for one claim. Times are steady seconds."""

    begun: float
    sure: int = 0
    read: int = 0
    last: Evidence = Evidence(Finding.UNSURE)

    def after(self, evidence: Evidence) -> Inquiry:
        """The inquiry with one more reading."""
        nothing = evidence.finding is Finding.NOTHING
        return Inquiry(self.begun, self.sure + 1 if nothing else 0, self.read + 1, evidence)

    def next_reading(self, quiet: float) -> float:
        """When to read next: spread evenly over the quiet period, the last at its end."""
        return self.begun + quiet * min(self.read / (READINGS - 1), 1.0)


def course(
    inquiry: Inquiry, now: float, quiet: float, *, dropped: bool, hopeless: bool
) -> tuple[Course, str]:
    """What to do after the last reading, and why.

    `dropped`: the balance fell by the price since; `hopeless`: no later reading can tell more.
    """
    evidence = inquiry.last
    if evidence.finding is Finding.FOUND:
        return Course.ADOPT, "found in the history"
    if hopeless:
        return Course.ASK, evidence.reason
    if now < inquiry.begun + quiet or inquiry.read < READINGS:
        return Course.READ_AGAIN, evidence.reason
    if evidence.finding is not Finding.NOTHING:
        return Course.ASK, evidence.reason
    if inquiry.sure < READINGS - 1:
        return Course.ASK, "the history did not answer often enough to be sure"
    if dropped:
        return Course.ASK, "the history shows no such job, but the balance fell by its price"
    return Course.PLAN_AGAIN, "the history shows no such job, read several times over the wait"


def balance_dropped(
    attempt: Attempt, price: int, balance: Balance | None, records: Iterable[Record]
) -> bool:
    """Whether the balance fell by the price beyond what later submissions explain."""
    if attempt.balance_before is None or balance is None or balance.seen_at <= attempt.sent_at:
        return False
    later = sum(
        record.credits_planned
        for record in records
        if record.job_id and (record.submitted_at or 0.0) >= attempt.sent_at
    )
    return balance.credits <= attempt.balance_before - later - price
