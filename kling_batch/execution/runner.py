"""The scheduler: one thread that starts what is due, takes in what arrives, and knows the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kling_batch.clock import Clock
from kling_batch.errors import ExitCode
from kling_batch.execution.batch import Batch, Observer
from kling_batch.execution.budget import Limits
from kling_batch.execution.download import Fetcher, Target
from kling_batch.execution.follower import Follower
from kling_batch.execution.polling import Pace
from kling_batch.execution.reconciler import Reconciler
from kling_batch.execution.reconciliation import Evidence
from kling_batch.execution.submission import Stop
from kling_batch.execution.submitter import Submitter
from kling_batch.execution.workers import Workers
from kling_batch.planning.plan import Action, Plan, PlannedJob
from kling_batch.planning.timetable import TYPICAL_SECONDS, make_timetable
from kling_batch.service.client import Service
from kling_batch.service.ledger import Ledger
from kling_batch.state.records import JobState, Record, moved
from kling_batch.state.store import Happening, StateNotWritten, Store
from kling_batch.structs import replace

IDLE_SECONDS = 3600.0
ARRIVALS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run behaves. Times are seconds; None: no limit of that kind."""

    limits: Limits
    per_hour: int
    max_in_flight: int
    poll_interval: float | None = None
    reconcile_wait: float = 600.0
    timeout: float | None = None
    canary: int | None = None
    wait: bool = True
    typical_seconds: float = TYPICAL_SECONDS


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What the first jobs came to, for the user to say whether to go on."""

    jobs: tuple[Record, ...]
    left: int
    credits_left: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. `unfinished` counts jobs that another run would take up."""

    exit_code: ExitCode
    stop: Stop | None
    undecided: dict[str, Evidence]
    left: dict[str, str]
    unfinished: int
    spent: int


class Runner:
    """One run of an approved plan over an open state."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        records: dict[str, Record],
        *,
        service: Service,
        ledger: Ledger,
        clock: Clock,
        workers: Workers,
        fetcher: Fetcher,
        target: Target,
        settings: RunSettings,
        observer: Observer,
        confirm: Callable[[CanaryReport], bool],
    ) -> None:
        self._plan = plan
        self._store = store
        self._clock = clock
        self._settings = settings
        self._confirm = confirm
        self._canary = settings.canary
        self._interrupted = False
        self._timed_out = False
        self._deadline: float | None = None
        self._arrivals = workers.arrivals
        self._batch = batch = Batch(store, ledger, clock, observer, records)
        self._submitter = Submitter(
            batch,
            service,
            workers,
            plan.having(Action.SUBMIT),
            limits=settings.limits,
            per_hour=settings.per_hour,
            on_accepted=self._accepted,
            on_unknown=lambda record, attempt: self._reconciler.take_up(record, attempt),
        )
        self._follower = Follower(
            batch,
            service,
            workers,
            pace=Pace(settings.poll_interval, settings.typical_seconds),
            target=target,
            fetcher=fetcher,
            stopped=lambda: self._ending,
        )
        self._reconciler = Reconciler(
            batch,
            service,
            workers,
            quiet=settings.reconcile_wait,
            on_adopted=self._accepted,
            on_not_made=self._not_made,
        )

    def interrupt(self) -> None:
        """Send nothing more and end soon; safe in a signal handler."""
        self._interrupted = True
        self._arrivals.put(lambda: None)

    def expected_end(self) -> float | None:
        """When all will be done (seconds since the epoch), under the hourly limit as it stands."""
        return make_timetable(
            submissions=len(self._submitter.waiting) if self._batch.stop is None else 0,
            in_flight=self._follower.in_flight,
            now=self._clock.now(),
            per_hour=self._settings.per_hour,
            max_in_flight=self._settings.max_in_flight,
            ages=self._batch.ledger.ages(),
            blocked_for=self._batch.ledger.blocked_for(),
            typical_seconds=self._settings.typical_seconds,
        ).finished_by

    def run(self) -> Result:
        """Work until all that the plan asks for is done, or nothing more can be."""
        self._prepare()
        if self._settings.timeout is not None:
            self._deadline = self._clock.steady() + self._settings.timeout
        try:
            while not self._finished():
                self._start_due(self._clock.steady())
                if not self._finished():  # a budget that is reached may have been the last word
                    wake = self._next_wake()
                    self._batch.write_noted(wake)
                    self._take_arrivals(wake)
        except StateNotWritten as error:
            raise self._last_answer() or error from error
        self._batch.write_noted()
        return self._result()

    def _last_answer(self) -> StateNotWritten | None:
        """Wait for what is being sent where the state fails: its answer is saved elsewhere."""
        last = None
        while self._submitter.sending:
            try:
                self._take_arrivals(IDLE_SECONDS)
            except StateNotWritten as error:  # the last one is the answer's
                last = error
        return last

    @property
    def _ending(self) -> bool:
        """Whether nothing new is begun any more, whatever is due."""
        return self._interrupted or self._timed_out

    # -- the beginning -------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Bring the records in step with the approved plan, in one commit; then take jobs up."""
        now, records = self._clock.now(), self._batch.records
        renames = {one.renamed_from: one.id for one in self._plan.jobs if one.renamed_from}
        if renames:
            self._batch.rename(renames)
        if self._plan.dropped:
            self._batch.drop(self._plan.dropped)
        fresh = [
            record
            for planned in self._plan.jobs
            if (record := _prepared(planned, records.get(planned.id))) is not None
        ]
        if fresh:
            self._batch.save(fresh, [Happening(now, "approved", None, {"jobs": len(fresh)})])
        unknown = self._plan.having(Action.UNKNOWN)
        attempts = self._store.attempts() if unknown else {}
        for one in unknown:
            self._reconciler.take_up(records[one.id], attempts[one.id])
        if self._settings.wait:
            for planned in self._plan.jobs:
                if planned.follows:
                    self._follower.follow(records[planned.id], known_before=True)

    # -- the loop ------------------------------------------------------------------------------

    def _start_due(self, now: float) -> None:
        if self._ending:
            return
        if self._canary_is_done():
            self._ask_canary()
        ready = self._submission_at()
        if ready is not None and ready <= now:
            self._submitter.submit()
        self._follower.start_due()
        due = self._reconciler.next_due()
        if due is not None and due <= now:
            self._reconciler.read()

    def _submission_at(self) -> float | None:
        """When the next submission may go as far as places, canary and open claims allow."""
        if self._follower.in_flight >= self._settings.max_in_flight or self._reconciler.holds:
            return None
        if self._canary is not None and len(self._submitter.bought) >= self._canary:
            return None
        return self._submitter.ready_at()

    def _canary_is_done(self) -> bool:
        return (
            self._canary is not None
            and len(self._submitter.bought) >= self._canary
            and bool(self._submitter.waiting)
            and self._batch.stop is None
            and self._follower.idle
            and self._reconciler.idle
        )

    def _next_wake(self) -> float:
        if self._ending:
            return IDLE_SECONDS  # only for the answer to what is being sent
        times = [
            self._deadline,
            self._follower.next_due(),
            self._reconciler.next_due(),
            self._submission_at(),
            self._clock.steady() if self._canary_is_done() else None,
        ]
        due = min((one for one in times if one is not None), default=None)
        if due is None:
            return IDLE_SECONDS
        return max(0.0, due - self._clock.steady())

    def _take_arrivals(self, seconds: float) -> None:
        """All that has arrived, in one commit: each by itself would wait for the disk."""
        arrival = self._clock.wait_for(self._arrivals, seconds)
        if arrival is None:
            return
        with self._batch.together():
            arrival()
            for _ in range(ARRIVALS_AT_ONCE):
                if self._arrivals.empty() or self._finished():
                    return
                self._arrivals.get_nowait()()

    def _finished(self) -> bool:
        if self._deadline is not None and self._clock.steady() >= self._deadline:
            self._timed_out = True
        if self._submitter.sending:
            return False  # what is being sent is recorded first, whatever happens
        if self._ending:
            return True
        more = bool(self._submitter.waiting) and self._batch.stop is None
        if not self._settings.wait and more:
            more = self._canary_is_done() or self._can_submit_now()
        return not more and self._follower.idle and self._reconciler.idle

    def _can_submit_now(self) -> bool:
        ready = self._submission_at()
        return ready is not None and ready <= self._clock.steady() + 5.0

    # -- what comes back -----------------------------------------------------------------------

    def _accepted(self, record: Record) -> None:
        if self._settings.wait:
            self._follower.follow(record)
        else:
            self._follower.in_flight += 1

    def _not_made(self, record: Record) -> None:
        """A job that the service surely did not make goes to the end of the queue.

        Unless the manifest now asks for something else than was approved then: that is for
        the next plan.
        """
        planned = next(one for one in self._plan.jobs if one.id == record.id)
        if planned.fingerprint == record.fingerprint:
            self._submitter.again(replace(planned, action=Action.SUBMIT))

    def _ask_canary(self) -> None:
        self._canary = None
        self._batch.write_noted()  # the answer may take a person an hour
        waiting = self._submitter.waiting
        bought = self._submitter.bought
        report = CanaryReport(
            tuple(record for record in self._batch.records.values() if record.id in bought),
            len(waiting),
            sum(planned.credits for planned in waiting),
        )
        if not self._confirm(report):
            self._batch.halt(
                Stop(ExitCode.DECLINED, "stopped after the first jobs, as you said", "")
            )

    # -- the end -------------------------------------------------------------------------------

    def _result(self) -> Result:
        asked_for = {one.id for one in self._plan.jobs if one.action is not Action.ORPHAN}
        records = [
            record
            for record in self._batch.records.values()
            if record.id in asked_for or record.extra_of in asked_for
        ]
        states = [record.state for record in records]
        open_states = {JobState.PLANNED, JobState.COMPLETED}
        if self._settings.wait:
            open_states |= {JobState.SUBMITTED, JobState.PROCESSING}
        undecided = self._reconciler.asks
        # A failed job that was to be tried again, say, is as it was until it is submitted.
        waiting = {planned.id for planned in self._submitter.waiting}
        unfinished = sum(
            record.state in open_states
            or record.id in waiting
            or (record.state is JobState.UNKNOWN and record.id not in undecided)
            for record in records
        )
        return Result(
            exit_code=self._exit_code(states, unfinished),
            stop=self._stop(),
            undecided=dict(undecided),
            left=dict(self._follower.left),
            unfinished=unfinished,
            spent=self._batch.spent,
        )

    def _stop(self) -> Stop | None:
        if self._timed_out and self._batch.stop is None:
            return Stop(ExitCode.STOPPED, "--timeout is up", "what is in flight goes on there")
        return self._batch.stop

    def _exit_code(self, states: list[JobState], unfinished: int) -> ExitCode:
        stop = self._stop()
        if self._interrupted:
            return ExitCode.INTERRUPTED
        if stop is not None and unfinished and stop.code is not ExitCode.OUTCOME_UNKNOWN:
            return stop.code
        if JobState.UNKNOWN in states:
            return ExitCode.OUTCOME_UNKNOWN
        if unfinished:
            return ExitCode.STOPPED
        if any(s in (JobState.FAILED, JobState.REJECTED, JobState.MISSING) for s in states):
            return ExitCode.JOBS_FAILED
        return ExitCode.DONE


def _prepared(planned: PlannedJob, record: Record | None) -> Record | None:
    """The record as this plan needs it before the first intent; None where it stands so."""
    job = planned.job
    if job is None:
        return None
    if planned.action is Action.SUBMIT and (record is None or record.state is JobState.PLANNED):
        return Record(
            id=job.id,
            fingerprint=planned.fingerprint,
            request=job.request,
            state=JobState.PLANNED,
            output=planned.output,
            credits_planned=planned.credits,
            pair=job.pair,
            take=job.take,
            image=job.image,
            video=job.video,
            attempts=record.attempts if record else 0,
            credits_spent=record.credits_spent if record else 0,
            error=record.error if record else None,
        )
    if record is None:
        return None
    if planned.action is Action.DOWNLOAD and record.state is JobState.DOWNLOADED:
        return moved(record, JobState.COMPLETED, output=planned.output)
    if planned.follows and record.output != planned.output:
        return replace(record, output=planned.output)
    return None
