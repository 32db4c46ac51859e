"""Settling unknown submissions, the acting part: reads the history, does what the evidence says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kling_batch.clock import age
from kling_batch.execution.batch import Batch
from kling_batch.execution.reconciliation import (
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
from kling_batch.execution.submission import adopted, not_made, result_of
from kling_batch.execution.workers import Workers
from kling_batch.service.client import Service
from kling_batch.service.contracts import RemoteJob
from kling_batch.service.outcomes import Trouble, Untold
from kling_batch.state.records import Record
from kling_batch.state.store import Attempt
from kling_batch.structs import replace

PAGES_MAX = 30


class Reconciler:
    """The open claims; one reading of the history at a time serves all of them."""

    def __init__(
        self,
        batch: Batch,
        service: Service,
        workers: Workers,
        *,
        quiet: float,
        on_adopted: Callable[[Record], None],
        on_not_made: Callable[[Record], None],
    ) -> None:
        self._batch = batch
        self._service = service
        self._workers = workers
        self._quiet = quiet
        self._on_adopted = on_adopted
        self._on_not_made = on_not_made
        self._claims: dict[str, Claim] = {}
        self._inquiries: dict[str, Inquiry] = {}
        self._reading = False
        self.asks: dict[str, Evidence] = {}  # what the user must decide, and on what evidence

    def take_up(self, record: Record, attempt: Attempt) -> None:
        """Begin to look for what became of this submission."""
        earlier = self._batch.store.job_ids_before(attempt.id)
        same_era = attempt.era == self._batch.clock.era
        self._claims[record.id] = Claim(attempt, record.request, earlier, same_era=same_era)
        self._inquiries[record.id] = Inquiry(begun=self._batch.clock.steady())

    @property
    def idle(self) -> bool:
        """Whether no claim is being looked into."""
        return not self._claims

    @property
    def holds(self) -> bool:
        """Whether a submission now could push a job that is looked for off a short history."""
        return any(one.last.exposed for one in self._inquiries.values())

    def next_due(self) -> float | None:
        """The steady time of the next reading."""
        if self._reading or not self._claims:
            return None
        return min(one.next_reading(self._quiet) for one in self._inquiries.values())

    def read(self) -> None:
        """Read the history once, for every open claim."""
        self._reading = True
        clock = self._batch.clock
        now = clock.now()
        claims = [(claim, age(claim.attempt.sent, clock)) for claim in self._claims.values()]

        def by_their_clock(ahead: float | None) -> list[Claim]:
            return [claim.by_their_clock(old, now, ahead) for claim, old in claims]

        self._workers.start(
            lambda: read_history(self._service, by_their_clock),
            lambda reading: self._read(reading, by_their_clock(reading.clock_ahead)),
        )

    def _read(self, reading: Reading, claims: Sequence[Claim]) -> None:
        self._reading = False
        batch = self._batch
        owned = batch.owners.keys() | batch.ledger.owners().keys()
        ours = {
            result_of(r)[0]: r.submitted_at
            for r in batch.records.values()
            if r.job_id and r.submitted_at is not None
        }
        evidence = weigh(
            claims,
            reading,
            owned,
            ours,
            lists_our_contract=self._service.contract.name == "canonical",
        )
        for claim in claims:
            self._proceed(claim, evidence[claim.attempt.job], reading)

    def _proceed(self, claim: Claim, evidence: Evidence, reading: Reading) -> None:
        batch, job = self._batch, claim.attempt.job
        record = batch.records[job]
        inquiry = self._inquiries[job] = self._inquiries[job].after(evidence)
        step, reason = course(
            inquiry,
            batch.clock.steady(),
            self._quiet,
            dropped=balance_dropped(
                claim,
                record.credits_planned,
                batch.ledger.balance(),
                batch.records.values(),
            ),
            hopeless=reading.missing or evidence.finding is Finding.SEVERAL,
        )
        if step is Course.READ_AGAIN:
            return
        del self._claims[job], self._inquiries[job]
        now = batch.clock.now()
        if step is Course.ADOPT:
            settlement = adopted(record, claim.attempt, evidence.job_ids[0], now)
            batch.settle(settlement)
            self._on_adopted(settlement.records[0])
        elif step is Course.PLAN_AGAIN:
            settlement = not_made(record, claim.attempt, reason, now)
            batch.settle(settlement)
            self._on_not_made(settlement.records[0])
        else:
            self.asks[job] = replace(evidence, reason=reason)
            batch.tell("undecided", job, reason=reason, candidates=list(evidence.job_ids))


def read_history(
    service: Service, by_their_clock: Callable[[float | None], Sequence[Claim]]
) -> Reading:
    """The history as far back as these claims need, or to its end.

    Their times are known by how far the service's clock is before ours, which the history tells.
    """
    jobs: dict[str, RemoteJob] = {}
    ahead: float | None = None
    for _ in range(PAGES_MAX):
        page = service.history(len(jobs))
        if isinstance(page, Untold):
            if page.trouble is Trouble.NOT_FOUND and not jobs:
                return Reading((), reaches_end=False, missing=True)
            return Reading((), reaches_end=False, failed=f"the history: {page.reason}")
        if page.clock_ahead is not None:
            ahead = page.clock_ahead
        reach = min(claim.reach for claim in by_their_clock(ahead))
        fresh = [job for job in page.jobs if job.job_id not in jobs]
        jobs.update((job.job_id, job) for job in fresh)
        older = any(job.created_at is not None and job.created_at < reach for job in page.jobs)
        # The end is an empty page: a short one may be the service's own bound, and one without
        # anything new means that it ignores the offset.
        if older or not fresh:
            return Reading(tuple(jobs.values()), reaches_end=not page.jobs, clock_ahead=ahead)
    return Reading(tuple(jobs.values()), reaches_end=False, clock_ahead=ahead)
