"""Following what was bought: polls, terminal states, downloads."""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from kling_batch.errors import ExitCode
from kling_batch.execution.batch import Batch
from kling_batch.execution.budget import refund_of
from kling_batch.execution.download import Failure, Fetcher, Got, NotGot, Target, download
from kling_batch.execution.polling import JOB_DEADLINE, MISSING_AFTER, Pace
from kling_batch.execution.submission import Stop, further_results, result_of
from kling_batch.execution.workers import Workers
from kling_batch.service.client import Service
from kling_batch.service.contracts import Phase, RemoteJob
from kling_batch.service.outcomes import Trouble, Untold
from kling_batch.state.records import IN_FLIGHT, JobState, Record, moved
from kling_batch.state.store import Happening
from kling_batch.structs import replace

DOWNLOADS_AT_ONCE = 4
DOWNLOAD_TRIES = 6
MEASURED_JOBS = 3
# A refund that was not told with the failure is asked for this often.
REFUND_ASKED = 3


@dataclass(slots=True)
class _Watch:
    """What the follower remembers of one job: how often it asked, and how that went."""

    begun: float
    known_before: bool
    asked: int = 0
    bad: int = 0
    gone: int = 0
    fetched: int = 0
    wants_url: bool = False
    refund_asked: int = 0


class Follower:
    """Every job in flight has one poll due; every finished one waits for its download."""

    def __init__(
        self,
        batch: Batch,
        service: Service,
        workers: Workers,
        *,
        pace: Pace,
        target: Target,
        fetcher: Fetcher,
        stopped: Callable[[], bool],
    ) -> None:
        self._batch = batch
        self._service = service
        self._workers = workers
        self._pace = pace
        self._target = target
        self._fetcher = fetcher
        self._stopped = stopped
        self._watches: dict[str, _Watch] = {}
        self._due: list[tuple[float, str]] = []
        self._to_fetch: deque[str] = deque()
        self._fetching = 0
        self._took: list[float] = []
        self._unreachable_since: float | None = None
        self.in_flight = 0
        self.left: dict[str, str] = {}  # jobs given up for this run, and why

    # -- what the scheduler asks ---------------------------------------------------------------

    def follow(self, record: Record, *, known_before: bool = False) -> None:
        """Take a paid job up: poll it or fetch its result."""
        watch = self._watches[record.id] = _Watch(self._batch.clock.steady(), known_before)
        if record.state is JobState.COMPLETED and record.result_url:
            self._to_fetch.append(record.id)
            return
        watch.wants_url = record.state is JobState.COMPLETED
        self.in_flight += record.state in IN_FLIGHT
        # A job of an earlier run may be long done: it is asked for at once.
        wait = 0.0 if known_before else self._pace.first(record.id)
        self._poll_in(record.id, wait)

    def next_due(self) -> float | None:
        """The steady time of the next thing to start; None when nothing is due by itself."""
        if self._to_fetch and self._fetching < DOWNLOADS_AT_ONCE:
            return self._batch.clock.steady()
        return self._due[0][0] if self._due else None

    @property
    def idle(self) -> bool:
        """Whether nothing is followed any more."""
        return not self._watches

    def start_due(self) -> None:
        """Start every poll and download that is due."""
        now = self._batch.clock.steady()
        while self._due and self._due[0][0] <= now:
            self._poll(heapq.heappop(self._due)[1])
        while self._to_fetch and self._fetching < DOWNLOADS_AT_ONCE:
            self._fetch(self._to_fetch.popleft())

    # -- polls ---------------------------------------------------------------------------------

    def _poll_in(self, job: str, seconds: float) -> None:
        heapq.heappush(self._due, (self._batch.clock.steady() + seconds, job))

    def _poll(self, job: str) -> None:
        job_id, _ = result_of(self._batch.records[job])
        self._workers.start(
            lambda: self._service.status(job_id), lambda told: self._polled(job, told)
        )

    def _polled(self, job: str, told: RemoteJob | Untold) -> None:
        watch = self._watches.get(job)
        if watch is None:
            return
        watch.asked += 1
        if isinstance(told, Untold):
            self._nothing_told(job, watch, told)
            return
        watch.bad = watch.gone = 0
        self._unreachable_since = None
        self._take(job, watch, told)

    def _take(self, job: str, watch: _Watch, told: RemoteJob) -> None:
        """Record what the service says, and go on from there. Terminal states are sticky."""
        record, now = self._batch.records[job], self._batch.clock.now()
        if record.state is JobState.FAILED:
            self._take_refund(record, watch, told)
        elif watch.wants_url:
            self._take_url(record, watch, told)
        elif told.phase is Phase.FAILED:
            self._failed(record, watch, told, now)
        elif told.phase is Phase.COMPLETED:
            self._completed(record, watch, told, now)
        elif self._batch.clock.steady() - watch.begun > JOB_DEADLINE:
            self._give_up(job, "it has not ended in hours; a later run asks for it again")
        else:
            self._still_running(record, told, now)
            self._poll_in(job, self._pace.next(job, watch.asked))

    def _still_running(self, record: Record, told: RemoteJob, now: float) -> None:
        processing = told.phase is Phase.PROCESSING
        state = JobState.PROCESSING if processing else JobState.SUBMITTED
        if record.state is JobState.PROCESSING or record.state is state:
            return
        if record.state is JobState.MISSING:
            self.in_flight += 1
        self._note(moved(record, state, error=None), Happening(now, state.value, record.id))

    def _failed(self, record: Record, watch: _Watch, told: RemoteJob, now: float) -> None:
        failed = moved(
            record,
            JobState.FAILED,
            error=told.error or "the service gave no reason",
            credits_charged=told.credits_charged
            if told.credits_charged is not None
            else record.credits_charged,
            credits_refunded=refund_of(told, record.credits_planned),
            finished_at=now,
        )
        self.in_flight -= record.state in IN_FLIGHT
        detail = {"error": failed.error, "credits_refunded": failed.credits_refunded}
        self._save(failed, Happening(now, "failed", record.id, detail))
        self._await_refund(failed, watch)

    def _await_refund(self, record: Record, watch: _Watch) -> None:
        """A refund may be told after the failure: until it is, the credits count as spent."""
        if record.committed == record.credits_spent or watch.refund_asked >= REFUND_ASKED:
            self._end(record)
            return
        watch.refund_asked += 1
        self._poll_in(record.id, self._pace.after_trouble(record.id, watch.refund_asked, None))

    def _take_refund(self, record: Record, watch: _Watch, told: RemoteJob) -> None:
        refunded = refund_of(told, record.credits_planned)
        if refunded and refunded != record.credits_refunded:
            record = replace(record, credits_refunded=refunded)
            told_now = Happening(
                self._batch.clock.now(), "refunded", record.id, {"credits": refunded}
            )
            self._save(record, told_now)
        self._await_refund(record, watch)

    def _completed(self, record: Record, watch: _Watch, told: RemoteJob, now: float) -> None:
        charged = told.credits_charged
        completed = moved(
            record,
            JobState.COMPLETED,
            error=None,
            result_url=told.result_urls[0] if told.result_urls else None,
            credits_charged=record.credits_charged if charged is None else charged,
            credits_refunded=refund_of(told, record.credits_planned),
            finished_at=now,
        )
        self.in_flight -= record.state in IN_FLIGHT
        self._measure(self._batch.clock.steady() - watch.begun, known_before=watch.known_before)
        detail = {"credits_charged": completed.credits_charged}
        others = further_results(completed, told.result_urls, self._batch.records)
        self._batch.note(
            (completed, *others),
            [
                Happening(now, "completed", record.id, detail),
                *(Happening(now, "extra", one.id, {"job_id": one.job_id}) for one in others),
            ],
        )
        if completed.credits_charged != record.credits_charged:
            self._batch.compare_charge(completed, told.duration_seconds)
        for one in others:
            self.follow(one)
        if completed.result_url:
            self._to_fetch.append(record.id)
        else:
            watch.wants_url = True
            self._retry_url(record.id, watch, "the service gives no URL for the result")

    def _measure(self, seconds: float, *, known_before: bool) -> None:
        """Learn how long jobs take, for the first poll of those to come."""
        if known_before:
            return  # it may have been done long before this run asked
        self._took = [*self._took[-20:], seconds]
        if len(self._took) >= MEASURED_JOBS:
            self._pace = replace(self._pace, typical=statistics.median(self._took))

    def _nothing_told(self, job: str, watch: _Watch, told: Untold) -> None:
        if self._batch.records[job].state is JobState.FAILED:
            self._await_refund(self._batch.records[job], watch)
            return
        if told.trouble is Trouble.KEY_REFUSED:
            self._batch.halt(
                Stop(
                    ExitCode.KEY,
                    f"the service refused the key: {told.reason}",
                    "check ULAZAI_API_KEY; what is in flight is kept",
                )
            )
            self._give_up(job, "the key was refused")
            return
        if told.trouble is Trouble.UNREACHABLE and self._too_long_unreachable():
            self._batch.halt(
                Stop(
                    ExitCode.STOPPED,
                    f"the service can't be reached: {told.reason}",
                    "check the network; what is in flight is kept",
                )
            )
            self._give_up(job, "the service can't be reached")
            return
        watch.bad += 1
        if told.trouble is Trouble.NOT_FOUND:
            watch.gone += 1
            if watch.gone >= MISSING_AFTER:
                self._missing(job, told)
                return
        if self._batch.clock.steady() - watch.begun > JOB_DEADLINE:
            self._give_up(job, told.reason)
            return
        self._poll_in(job, self._pace.after_trouble(job, watch.bad, told.retry_after))

    def _too_long_unreachable(self) -> bool:
        now = self._batch.clock.steady()
        if self._unreachable_since is None:
            self._unreachable_since = now
        return now - self._unreachable_since > self._pace.patience

    def _missing(self, job: str, told: Untold) -> None:
        record, now = self._batch.records[job], self._batch.clock.now()
        self._end(record)
        if record.state in IN_FLIGHT:
            missing = moved(record, JobState.MISSING, error=told.reason)
            self._save(missing, Happening(now, "missing", job, {"reason": told.reason}))
        elif record.state is JobState.COMPLETED:
            self.left[job] = "the service no longer knows the job, and its file is not here"

    # -- downloads -----------------------------------------------------------------------------

    def _fetch(self, job: str) -> None:
        self._fetching += 1
        record = self._batch.records[job]
        self._workers.start(
            lambda: download(record, self._target, self._fetcher, self._stopped),
            lambda got: self._fetched(job, got),
        )

    def _fetched(self, job: str, got: Got | NotGot) -> None:
        self._fetching -= 1
        watch = self._watches.get(job)
        if watch is None:
            return
        if isinstance(got, Got):
            self._downloaded(self._batch.records[job], got)
        elif got.failure in (Failure.REFUSED, Failure.DISK, Failure.STOPPED):
            self._give_up(job, got.reason)
        else:
            self._retry_url(job, watch, got.reason)

    def _downloaded(self, record: Record, got: Got) -> None:
        done = moved(
            record,
            JobState.DOWNLOADED,
            output=got.output,
            sha256=got.sha256,
            size=got.size,
            error=None,
        )
        detail = {"output": got.output, "sha256": got.sha256, "bytes": got.size}
        self._end(record)
        self._note(done, Happening(self._batch.clock.now(), "downloaded", record.id, detail))

    def _retry_url(self, job: str, watch: _Watch, reason: str) -> None:
        """Ask for the URL anew and fetch again, a few times: URLs expire and hosts stumble."""
        watch.fetched += 1
        if watch.fetched >= DOWNLOAD_TRIES:
            self._give_up(job, reason)
            return
        watch.wants_url = True
        self._batch.tell("fetching_again", job, reason=reason)
        self._poll_in(job, self._pace.after_trouble(job, watch.fetched - 1, None))

    def _take_url(self, record: Record, watch: _Watch, told: RemoteJob) -> None:
        """A finished job stays finished, whatever its status says now: only its URL is taken."""
        _, number = result_of(record)
        url = told.result_urls[number] if number < len(told.result_urls) else record.result_url
        if not url:
            self._retry_url(record.id, watch, "the service gives no URL for the result")
            return
        watch.wants_url = False
        if url != record.result_url:
            record = replace(record, result_url=url)
            self._note(record, Happening(self._batch.clock.now(), "url", record.id))
        self._to_fetch.append(record.id)

    # -- ends ----------------------------------------------------------------------------------

    def _give_up(self, job: str, reason: str) -> None:
        self.left[job] = reason
        self._end(self._batch.records[job])
        self._batch.tell("left", job, reason=reason)

    def _end(self, record: Record) -> None:
        del self._watches[record.id]
        self.in_flight -= record.state in IN_FLIGHT

    def _save(self, record: Record, happening: Happening) -> None:
        self._batch.save((record,), (happening,))

    def _note(self, record: Record, happening: Happening) -> None:
        self._batch.note((record,), (happening,))
