"""One simulated job: what was asked and charged, and where it stands at any time."""

from __future__ import annotations

import hashlib
import random
import uuid
from dataclasses import dataclass
from enum import Enum

from kling_batch.model import Contract, JobRequest

# Of a typical 75 s, 10 s are spent waiting in the queue.
PENDING_SHARE = 10 / 75
# Jobs differ by so much either way, each by its own measure.
VARIATION = 0.3


class Stage(str, Enum):
    """Where a job stands, in the service's canonical words."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """A job as the service took it. Everything later is a function of it and of the time.

    ``submission`` numbers the accepted POST that made it; ``seed`` chooses how its video looks.
    """

    id: str
    request: JobRequest
    contract: Contract
    submission: int
    created_at: float
    takes: float
    credits: int
    seed: int
    fails: bool = False
    stuck: bool = False

    @property
    def finished_at(self) -> float:
        return self.created_at + self.takes

    def stage(self, now: float) -> Stage:
        age = now - self.created_at
        if age < self.takes * PENDING_SHARE:
            return Stage.PENDING
        if self.stuck or now < self.finished_at:
            return Stage.PROCESSING
        return Stage.FAILED if self.fails else Stage.COMPLETED

    def progress(self, now: float) -> float:
        """From 0 to 1; a stuck job stays below 1."""
        share = (now - self.created_at) / self.takes if self.takes else 1.0
        return min(max(share, 0.0), 0.99 if self.stuck else 1.0)


@dataclass(frozen=True, slots=True)
class Charge:
    """One job's line in the ledger that tests read: what was charged, when, for which request."""

    job_id: str
    at: float
    credits: int
    request: JobRequest
    contract: Contract
    submission: int
    refunded: bool

    @property
    def prompt(self) -> str:
        return self.request.prompt


def job_id(seed: int, number: int) -> str:
    """The id of the so-manieth job of a simulator with this seed: the same in every run."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def job_takes(job: str, job_seconds: float) -> float:
    """How long this job takes, in seconds: the typical time, give or take its own variation."""
    spread = random.Random(job).uniform(1 - VARIATION, 1 + VARIATION)  # noqa: S311 - not a secret
    return job_seconds * spread
