"""What the history says of a submission whose outcome is unknown. Pure.

The one rule above all: a job is planned again only when it is sure that the service did not
make it. Whatever leaves a doubt leaves it unknown, for the user to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf

from kling_batch.model import JobRequest
from kling_batch.service.contracts import RemoteJob
from kling_batch.service.ledger import Balance
from kling_batch.state.records import Record
from kling_batch.state.store import Attempt
from kling_batch.structs import replace

# The two clocks may differ, and the service may act after our time-out.
BEFORE, AFTER = 180.0, 900.0
# A fitting job this far out of its time may still be ours: a clock may have jumped meanwhile.
NEAR = 2 * 3600.0
READINGS = 4
# A history may cut prompts; so much of one is enough to doubt.
_TELLING = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """The history as read once: all pages, as far back as needed or as the list goes.

    `reaches_end`: the list ended by itself; `missing`: the service has no history;
    `clock_ahead`: seconds by which its clock is before ours, None where that is not told.
    """

    jobs: tuple[RemoteJob, ...]
    reaches_end: bool
    clock_ahead: float | None = None
    missing: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A submission whose outcome is unknown, the job that it was for, and what came before it.

    `earlier` are the service's ids of our jobs that were bought before: an order without a clock.
    `shift` makes the attempt's times the service's, and `slack` is how far out of its time a
    fitting job may lie and still be ours. Both are seconds. `same_era`: its age is by steady time.
    """

    attempt: Attempt
    request: JobRequest
    earlier: frozenset[str] = frozenset()
    shift: float = 0.0
    slack: float = NEAR
    same_era: bool = True

    @property
    def since(self) -> float:
        """The earliest time, by the service's clock, at which it can have made the job."""
        return self.attempt.sent_at + self.shift - BEFORE

    @property
    def until(self) -> float:
        """The latest such time."""
        sent, answered = self.attempt.sent_at, self.attempt.answered_at or 0.0
        return max(sent, answered) + self.shift + AFTER  # the clock may be set back in between

    @property
    def reach(self) -> float:
        """How far back a reading goes: what is older than this was surely made before."""
        return self.since - NEAR - abs(self.shift)

    def by_their_clock(self, age: float, now: float, ahead: float | None) -> Claim:
        """The claim in the service's time, `ahead` of ours (None: not told) while it is `now`.

        The attempt is `age` old, which its wall time may not say: the clock may have been set
        since. The further the clocks differ, the less a time proves.
        """
        shift = now - age - self.attempt.sent_at + (ahead or 0.0)
        sure = ahead is not None and age >= 0
        return replace(self, shift=shift, slack=NEAR + abs(shift) if sure else inf)


class Finding(Enum):
    """What one reading says of one claim."""

    FOUND = "found"
    SEVERAL = "several"
    NOTHING = "nothing"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A finding with the jobs that it speaks of, and why it is unsure.

    `exposed`: the list shows nothing older, so if it is cut, newer jobs may push this one off.
    """

    finding: Finding
    job_ids: tuple[str, ...] = ()
    reason: str = ""
    exposed: bool = False


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
        by_request.setdefault(claim.request, []).append(_doubted(claim, reading, ours))
    free = [job for job in reading.jobs if job.job_id not in owned]
    for alike in by_request.values():
        evidence.update(
            _share(alike, free, _absence(alike, reading, free, ours, lists_our_contract))
        )
    return evidence


def _doubted(claim: Claim, reading: Reading, ours: Mapping[str, float]) -> Claim:
    """The claim with as much more slack as the times of our own jobs are out of theirs.

    So a clock shows that was wrong when it was sent and is right again. Where another era began
    since, and no job of ours is told to hold it to, no time proves anything.
    """
    out = [
        abs(job.created_at - ours[job.job_id] - claim.shift)
        for job in reading.jobs
        if job.job_id in ours and job.created_at is not None
    ]
    most = max(out, default=0.0 if claim.same_era else inf)
    return replace(claim, slack=claim.slack + most) if most > AFTER else claim


def _share(
    alike: Sequence[Claim], free: Sequence[RemoteJob], absence: Evidence
) -> dict[str, Evidence]:
    """What fits goes to the claims, the oldest first; the rest of them are absent."""
    until = max(one.until for one in alike)
    fitting = [job for job in free if _fits(job, alike[0].request, alike[0].since, until)]
    if len(fitting) > len(alike):
        ids = tuple(job.job_id for job in fitting)
        reason = f"{len(fitting)} jobs of the history fit"
        return {c.attempt.job: Evidence(Finding.SEVERAL, ids, reason) for c in alike}
    oldest_first = sorted(fitting, key=lambda job: job.created_at or 0.0)
    found = [Evidence(Finding.FOUND, (job.job_id,)) for job in oldest_first]
    found += [absence] * (len(alike) - len(found))
    return {c.attempt.job: one for c, one in zip(alike, found, strict=True)}


def _fits(job: RemoteJob, request: JobRequest, since: float, until: float) -> bool:
    """The same prompt, made in the window, and nothing that is told contradicts the request."""
    if _plain(job.prompt or "") != _plain(request.prompt):
        return False
    made_then = job.created_at is not None and since <= job.created_at <= until
    return made_then and _agrees(job, request)


def _agrees(job: RemoteJob, request: JobRequest) -> bool:
    told = (
        (job.quality_mode, request.quality_mode),
        (job.duration_seconds, request.duration_seconds),
        (job.image_urls[:1], (request.image_url,)),
        (job.video_urls[:1], (request.video_url,)),
    )
    return all(not theirs or theirs == wanted for theirs, wanted in told)


def _nearly_fits(
    job: RemoteJob, request: JobRequest, since: float, until: float, slack: float
) -> bool:
    """Whether it fits but for its time, or for the end of its prompt."""
    told, wanted = _plain((job.prompt or "").rstrip(".…")), _plain(request.prompt)
    same = told == wanted or (len(told) >= _TELLING and wanted.startswith(told))
    at_all = job.created_at is not None and since - slack <= job.created_at <= until + slack
    return same and at_all and _agrees(job, request)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _absence(
    alike: Sequence[Claim],
    reading: Reading,
    free: Sequence[RemoteJob],
    ours: Mapping[str, float],
    lists_our_contract: bool,
) -> Evidence:
    """What it proves that a job is not in this reading: that it was not made, or nothing."""
    claim, until = alike[0], max(one.until for one in alike)
    slack = max(one.slack for one in alike)
    near = [
        job.job_id
        for job in free
        if _nearly_fits(job, claim.request, claim.since, until, slack)
        and not _fits(job, claim.request, claim.since, until)
    ]
    shown = {job.job_id for job in reading.jobs}
    times = [job.created_at for job in reading.jobs if job.created_at is not None]
    earlier = frozenset.intersection(*(one.earlier for one in alike))
    others = {job.job_id for job in reading.jobs} - {job.job_id for job in free} - ours.keys()
    older_shown = bool(shown & earlier) or any(
        job.created_at is not None
        and job.created_at < claim.since - (slack - NEAR if job.job_id in others else slack)
        for job in reading.jobs
    )
    doubts = (
        (any(job.prompt is None for job in reading.jobs), "the history tells no prompts"),
        (len(times) < len(reading.jobs), "the history tells no times"),
        (times != sorted(times, reverse=True), "the history is not in the order of time"),
        (bool(near), "a job of the history fits but for its time or the end of its prompt"),
        (
            any(
                (at >= claim.attempt.sent_at - BEFORE or job_id not in earlier)
                and job_id not in shown
                for job_id, at in ours.items()
            ),
            "the history does not show jobs that were surely made",
        ),
        # A list that is cut loses its oldest first. So its end proves something only where it
        # shows something older, or nothing at all that could have pushed the job off.
        (
            not older_shown and (bool(reading.jobs) or not reading.reaches_end),
            "the history does not reach back far enough",
        ),
        (
            not lists_our_contract and not shown & ours.keys(),
            "the history may not list jobs of the legacy contract",
        ),
    )
    reason = next((reason for doubted, reason in doubts if doubted), "")
    finding = Finding.UNSURE if reason else Finding.NOTHING
    return Evidence(finding, tuple(near), reason, exposed=not older_shown)


class Course(Enum):
    """What to do about a claim now."""

    READ_AGAIN = "read again"
    ADOPT = "adopt"
    PLAN_AGAIN = "plan again"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The readings made so far for one claim. Times are steady seconds.

    `sure` counts the last ones in a row that proved its absence, `proofs` all of them.
    """

    begun: float
    read: int = 0
    sure: int = 0
    proofs: int = 0
    last: Evidence = Evidence(Finding.UNSURE, exposed=True)

    def after(self, evidence: Evidence) -> Inquiry:
        """The inquiry with one more reading."""
        proof = evidence.finding is Finding.NOTHING
        return Inquiry(
            self.begun,
            self.read + 1,
            self.sure + 1 if proof else 0,
            self.proofs + proof,
            evidence,
        )

    def next_reading(self, quiet: float) -> float:
        """When to read next: spread evenly, so that the quiet period ends with a reading."""
        return self.begun + quiet * self.read / (READINGS - 1)


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
    if inquiry.sure >= READINGS - 1:
        if dropped:
            return Course.ASK, "the history shows no such job, but the balance fell by its price"
        return Course.PLAN_AGAIN, "the history shows no such job, read several times over the wait"
    # Now and then it did prove something: as long again, and it may do so often enough.
    if inquiry.proofs and inquiry.read < 2 * READINGS - 1:
        return Course.READ_AGAIN, evidence.reason
    return Course.ASK, evidence.reason or "the history did not answer often enough to be sure"


def balance_dropped(
    claim: Claim, price: int, balance: Balance | None, records: Iterable[Record]
) -> bool:
    """Whether the balance fell by the price beyond what is known to have been spent since."""
    if claim.attempt.balance_before is None or balance is None:
        return False
    if (balance.credits, balance.seen_at) == (
        claim.attempt.balance_before,
        claim.attempt.balance_at,
    ):
        return False  # it was not seen since, so that it tells nothing
    expected = claim.attempt.balance_before
    seen_at = claim.attempt.balance_at or claim.attempt.sent_at
    for record in records:
        charged = record.credits_charged
        if record.job_id and record.job_id not in claim.earlier:
            expected -= record.credits_planned if charged is None else charged
        if record.credits_refunded and (record.finished_at or 0.0) >= seen_at:
            expected += record.credits_refunded
    return balance.credits <= expected - price
