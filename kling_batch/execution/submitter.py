"""Submitting, the acting part: slot, intent, one POST, answer; each committed before the next."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from kling_batch.clock import moment
from kling_batch.errors import ExitCode
from kling_batch.execution.batch import Batch
from kling_batch.execution.budget import Limits, refusal
from kling_batch.execution.submission import (
    NOT_SENT_TRIES,
    UNKNOWN_IN_A_ROW,
    Settlement,
    Stop,
    intent,
    settle,
)
from kling_batch.execution.workers import Workers
from kling_batch.planning.plan import PlannedJob
from kling_batch.service.client import Service
from kling_batch.service.ledger import Balance
from kling_batch.service.outcomes import SubmissionOutcome, Verdict
from kling_batch.state.records import JobState, Record
from kling_batch.state.store import Attempt, Happening, StateNotWritten
from kling_batch.structs import replace

TURN_SECONDS = 0.5


class Submitter:
    """The queue of jobs to buy, and the one submission that may be under way."""

    def __init__(
        self,
        batch: Batch,
        service: Service,
        workers: Workers,
        jobs: Iterable[PlannedJob],
        *,
        limits: Limits,
        per_hour: int,
        on_accepted: Callable[[Record], None],
        on_unknown: Callable[[Record, Attempt], None],
    ) -> None:
        self._batch = batch
        self._service = service
        self._workers = workers
        self._limits = limits
        self._per_hour = per_hour
        self._on_accepted = on_accepted
        self._on_unknown = on_unknown
        self.waiting = deque(jobs)
        self.sending = False
        self.not_before = 0.0
        self.bought: set[str] = set()  # jobs that were made in this run, or perhaps were
        self._not_sent = 0
        self._unknown_in_a_row = 0

    def again(self, planned: PlannedJob) -> None:
        """Take a job back that the service surely did not make, behind all others."""
        self.bought.discard(planned.id)
        self.waiting.append(planned)

    def ready_at(self) -> float | None:
        """The steady time of the next submission; None when none can follow from here."""
        if not self.waiting or self.sending or self._batch.stop:
            return None
        return self.not_before

    def submit(self) -> None:
        """Make the next submission, if limits, ledger and other runs allow it now."""
        batch, planned = self._batch, self.waiting[0]
        now = batch.clock.steady()
        if not batch.ledger.begin_turn():
            self.not_before = now + TURN_SECONDS
            return
        try:
            balance = batch.ledger.balance()  # no other run changes it during this turn
            if self._may_go(planned, balance):
                self._send(self.waiting.popleft(), balance)
        finally:
            if not self.sending:
                batch.ledger.end_turn()

    def _may_go(self, planned: PlannedJob, balance: Balance | None) -> bool:
        """Whether limits and ledger allow the submission now; its slot is taken then."""
        seen = balance.credits if balance else None
        no = refusal(planned.credits, self._batch.spent, seen, self._limits)
        if no:
            self._batch.halt(Stop(ExitCode.BUDGET, no, "raise the budget, then go on"))
            return False
        wait = self._batch.ledger.take_slot(self._per_hour)
        if wait > 0:
            self._wait(wait, "the hourly limit")
        return wait <= 0

    def _wait(self, seconds: float, reason: str) -> None:
        self.not_before = self._batch.clock.steady() + seconds
        until = self._batch.clock.now() + seconds
        self._batch.tell("waiting", seconds=round(seconds, 1), until=until, reason=reason)

    def _send(self, planned: PlannedJob, balance: Balance | None) -> None:
        batch = self._batch
        sent = moment(batch.clock)
        attempt = Attempt(
            id=uuid.uuid4().hex,
            job=planned.id,
            fingerprint=planned.fingerprint,
            sent_at=sent.wall,
            era=sent.era,
            steady=sent.steady,
            balance_before=balance.credits if balance else None,
            balance_at=balance.seen_at if balance else None,
        )
        record = intent(batch.records[planned.id], attempt, planned.request, planned.credits)
        record = replace(record, output=planned.output)
        batch.intend(record, attempt, Happening(sent.wall, "submitting", planned.id))
        self._workers.start(
            lambda: self._service.submit(planned.request),
            lambda outcome: self._answered(planned, attempt, outcome),
        )
        self.sending = True

    def _answered(self, planned: PlannedJob, attempt: Attempt, outcome: SubmissionOutcome) -> None:
        batch = self._batch
        record = batch.records[planned.id]
        told = outcome.receipt.job_ids if outcome.receipt is not None else ()
        taken = batch.ledger.owned(told) | {one for one in told if one in batch.owners}
        settlement = settle(record, attempt, outcome, batch.clock.now(), taken, batch.records)
        try:
            batch.settle(settlement, outcome.receipt.credits_remaining if outcome.receipt else None)
        except StateNotWritten as error:
            raise _rescued(batch, settlement, error) from error
        finally:
            batch.ledger.end_turn()
            self.sending = False
        self._follow_up(planned, outcome, settlement)

    def _follow_up(
        self, planned: PlannedJob, outcome: SubmissionOutcome, settlement: Settlement
    ) -> None:
        """What the committed answer means for the queue."""
        record = settlement.records[0]
        if settlement.again:
            self.waiting.appendleft(planned)
        if settlement.stop is not None:
            self._batch.halt(self._with_shortfall(settlement.stop))
        self._count(record, outcome)
        if record.state is JobState.SUBMITTED:
            if len(settlement.records) == 1:  # with more jobs, whose charge it is is not told
                self._batch.compare_charge(record, None)
            for one in settlement.records:
                self._on_accepted(one)
        elif record.state is JobState.UNKNOWN:
            self._on_unknown(record, settlement.attempt)
            self._stop_after_unknowns()
        elif outcome.verdict is Verdict.RATE_LIMITED:
            wait = self._batch.ledger.refused(outcome.retry_after, self._per_hour)
            self._wait(wait, "the service's rate limit")
        elif outcome.verdict is Verdict.NOT_SENT:
            self._back_off(outcome.reason)

    def _count(self, record: Record, outcome: SubmissionOutcome) -> None:
        if record.state in (JobState.SUBMITTED, JobState.UNKNOWN):
            self.bought.add(record.id)
        if outcome.verdict is Verdict.NOT_SENT:
            return  # it says nothing of how the service is
        self._not_sent = 0
        unclear = record.state is JobState.UNKNOWN
        self._unknown_in_a_row = self._unknown_in_a_row + 1 if unclear else 0

    def _stop_after_unknowns(self) -> None:
        if self._unknown_in_a_row >= UNKNOWN_IN_A_ROW:
            self._batch.halt(
                Stop(
                    ExitCode.OUTCOME_UNKNOWN,
                    f"{self._unknown_in_a_row} submissions in a row had no clear outcome",
                    "the service seems unwell; look at each, then go on",
                )
            )

    def _back_off(self, reason: str) -> None:
        self._not_sent += 1
        if self._not_sent >= NOT_SENT_TRIES:
            self._batch.halt(
                Stop(
                    ExitCode.STOPPED,
                    f"the service can't be reached: {reason}",
                    "check the network and ULAZAI_BASE_URL; nothing was sent",
                )
            )
            return
        self._wait(2.0 ** (self._not_sent - 1), f"the service can't be reached ({reason})")

    def _with_shortfall(self, stop: Stop) -> Stop:
        if stop.code is not ExitCode.BUDGET:
            return stop
        needed = sum(planned.credits for planned in self.waiting)
        balance = self._batch.ledger.balance()
        text = f"the {len(self.waiting)} jobs left need {needed} credits"
        if balance is not None:
            text += f"; the balance last seen was {balance.credits}"
            if needed > balance.credits:
                text += f", {needed - balance.credits} short"
        return replace(stop, message=f"{stop.message}; {text}")


def _rescued(batch: Batch, settlement: Settlement, error: StateNotWritten) -> StateNotWritten:
    """Save what was answered outside of the state, and say where: it was paid for."""
    record = settlement.records[0]
    ids = ", ".join(settlement.attempt.job_ids) or "none"
    note = {
        "state": str(batch.store.path),
        "job": record.id,
        "attempt": settlement.attempt.id,
        "job_ids": settlement.attempt.job_ids,
        "verdict": settlement.attempt.verdict,
        "raw": settlement.attempt.raw,
    }
    where = _save_elsewhere(json.dumps(note).encode(), batch.store.path)
    error.message = f"{error.message}; {record.id} was answered with job {ids}{where}"
    if settlement.attempt.job_ids:
        error.hint = (
            f"make room, then: kling-batch resolve {_manifest_of(batch)}"
            f" {record.id} --job-id {settlement.attempt.job_ids[0]}"
        )
    return error


def _manifest_of(batch: Batch) -> str:
    """The manifest as a command names it."""
    with suppress(sqlite3.Error):  # the state just failed
        path = batch.store.path.parent.parent / (batch.store.meta("manifest") or "")
        return shlex.quote(str(path))
    return "MANIFEST"


def _save_elsewhere(data: bytes, state: Path) -> str:
    name = f"{state.stem}.rescued-{uuid.uuid4().hex[:8]}.json"
    for folder in _safe_folders(state):
        try:
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            continue  # the next folder may have room; the ids are printed in any case
        return f" (saved in {folder / name})"
    return ""


def _safe_folders(state: Path) -> Iterator[Path]:
    yield state.parent.absolute()
    with suppress(OSError):  # with a full disk there may be none for temporary files
        yield Path(tempfile.gettempdir())
    with suppress(RuntimeError):
        yield Path.home()
