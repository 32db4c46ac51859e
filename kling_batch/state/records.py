"""A job's record, and which states may follow which. Pure."""

from __future__ import annotations

from enum import Enum

from kling_batch.model import JobRequest
from kling_batch.structs import dataclass, replace


class JobState(str, Enum):
    """Where a job stands; the values are what the state file and `status --json` say."""

    PLANNED = "planned"
    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    DOWNLOADED = "downloaded"
    FAILED = "failed"
    REJECTED = "rejected"
    MISSING = "missing"


S = JobState
IN_FLIGHT = frozenset({S.SUBMITTED, S.PROCESSING})
PAID = frozenset({S.UNKNOWN, S.SUBMITTED, S.PROCESSING, S.COMPLETED, S.DOWNLOADED, S.MISSING})

# Terminal is terminal: nothing leads from a finished job back to a running one, only a new
# intent (UNKNOWN) that the user's plan asked for. An intent is unknown until it is answered.
LEGAL: dict[JobState, frozenset[JobState]] = {
    S.PLANNED: frozenset({S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.PLANNED, S.SUBMITTED, S.REJECTED}),
    S.SUBMITTED: frozenset({S.PROCESSING, S.COMPLETED, S.FAILED, S.MISSING}),
    S.PROCESSING: frozenset({S.COMPLETED, S.FAILED, S.MISSING}),
    S.COMPLETED: frozenset({S.DOWNLOADED}),
    S.DOWNLOADED: frozenset({S.COMPLETED, S.UNKNOWN}),
    S.FAILED: frozenset({S.UNKNOWN}),
    S.REJECTED: frozenset({S.UNKNOWN}),
    S.MISSING: frozenset({S.PLANNED, S.SUBMITTED, S.PROCESSING, S.COMPLETED, S.FAILED}),
}


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one job. Credits are whole, times seconds since the epoch.

    `credits_spent` sums what earlier attempts of this job cost for good; the `credits_charged`
    and `credits_refunded` are the present attempt's, None until the service has told.
    `extra_of` names the job whose submission answered with more job ids than were asked for.
    """

    id: str
    fingerprint: str
    request: JobRequest
    state: JobState
    output: str
    credits_planned: int
    pair: str = ""
    take: int = 1
    image: str = ""
    video: str = ""
    job_id: str | None = None
    attempts: int = 0
    credits_charged: int | None = None
    credits_refunded: int | None = None
    credits_spent: int = 0
    error: str | None = None
    result_url: str | None = None
    sha256: str | None = None
    size: int | None = None
    submitted_at: float | None = None
    finished_at: float | None = None
    extra_of: str | None = None

    @property
    def committed(self) -> int:
        """Credits that count as spent: charged or, where not told, planned; less refunds."""
        present = 0
        if self.state in PAID or self.state is S.FAILED:
            charged = self.credits_charged
            present = self.credits_planned if charged is None else charged
            present -= self.credits_refunded or 0
        return self.credits_spent + max(present, 0)


class IllegalTransition(RuntimeError):
    """A bug: a record was moved where none may go."""


def moved(record: Record, state: JobState, **changes: object) -> Record:
    """The record in its next state; raises IllegalTransition."""
    if state is not record.state and state not in LEGAL[record.state]:
        raise IllegalTransition(f"{record.id}: {record.state.value} to {state.value}")
    return replace(record, state=state, **changes)  # type: ignore[arg-type]
