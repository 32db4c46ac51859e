"""The simulated account: its balance, its jobs, its ledger, its hourly limit."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from kling_batch.clock import Clock
from kling_batch.model import Contract, JobRequest, Pricing
from kling_batch.simulator.jobs import Charge, SimulatedJob, Stage, job_id, job_takes

HOUR = 3600.0
# A prompt that holds this word makes a job that fails.
FAIL_WORD = "[fail]"


class NotEnoughCredits(Exception):
    """The balance does not cover the submission; nothing was made."""


@dataclass(frozen=True, slots=True)
class HistoryMode:
    """How the history shows jobs. Its shape is not documented, so clients must bear all of these.

    ``lag``: seconds before a job appears. ``prompts``: whether prompts are told.
    ``absent``: the endpoint is not there (404). ``keep``: only so many newest jobs are told.
    """

    lag: float = 0.0
    prompts: bool = True
    absent: bool = False
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Twist:
    """What a fault script changes in the making of a job."""

    fails: bool = False
    stuck: bool = False
    charge: int | None = None
    jobs: int = 1


AS_ASKED = Twist()


class Account:
    """Everything the stand-in remembers. Not thread-safe: the app holds its lock."""

    def __init__(
        self,
        clock: Clock,
        *,
        balance: int,
        submissions_per_hour: int | None,
        job_seconds: float,
        seed: int,
    ) -> None:
        self._clock = clock
        self._epoch = clock.now() - clock.steady()
        self._balance = balance
        self._per_hour = submissions_per_hour
        self._job_seconds = job_seconds
        self._seed = seed
        self._pricing = Pricing()
        self._jobs: dict[str, SimulatedJob] = {}
        self._refunded: set[str] = set()
        self._to_refund: list[tuple[float, str]] = []
        self._posts: list[float] = []
        self._submissions = 0

    def now(self) -> float:
        """The service's own wall time, which does not jump when that of this machine does."""
        return self._epoch + self._clock.steady()

    @property
    def balance(self) -> int:
        self._settle()
        return self._balance

    def top_up(self, credits: int) -> None:
        self._balance += credits

    def job(self, job: str) -> SimulatedJob | None:
        return self._jobs.get(job)

    def first_job(self) -> SimulatedJob | None:
        return next(iter(self._jobs.values()), None)

    def stage(self, job: SimulatedJob) -> Stage:
        return job.stage(self.now())

    def refunded(self, job: SimulatedJob) -> bool:
        self._settle()
        return job.id in self._refunded

    def ledger(self) -> tuple[Charge, ...]:
        self._settle()
        return tuple(
            Charge(
                job_id=job.id,
                at=job.created_at,
                credits=job.credits,
                request=job.request,
                contract=job.contract,
                submission=job.submission,
                refunded=job.id in self._refunded,
            )
            for job in self._jobs.values()
        )

    def throttle(self) -> int | None:
        """Count a POST; or, over the limit, the whole seconds until one is free again.

        As the service's framework does it: a sliding hour, in which refused POSTs don't count
        and invalid ones do.
        """
        now = self.now()
        if self._per_hour is None:
            return None
        self._posts = [at for at in self._posts if now - at < HOUR]
        if len(self._posts) < self._per_hour:
            self._posts.append(now)
            return None
        if not self._posts:
            return int(HOUR)
        return max(1, math.ceil(self._posts[0] + HOUR - now))

    def submit(
        self, request: JobRequest, contract: Contract, twist: Twist
    ) -> tuple[SimulatedJob, ...]:
        """Charge and make the jobs; raises NotEnoughCredits and then has done neither."""
        price = self._pricing.credits(request) if twist.charge is None else twist.charge
        if price * twist.jobs > self.balance:
            raise NotEnoughCredits
        self._submissions += 1
        self._balance -= price * twist.jobs
        return tuple(self._make(request, contract, twist, price) for _ in range(twist.jobs))

    def remember(self, charge: Charge) -> None:
        """Take over a job of an earlier stand-in, as old as it is; it is not charged again."""
        self._submissions += 1
        self._add(
            charge.job_id,
            charge.request,
            charge.contract,
            AS_ASKED,
            charge.credits,
            created_at=min(charge.at, self.now()),
        )

    def newest(self, mode: HistoryMode, skip: int, count: int) -> Iterator[SimulatedJob]:
        """Jobs as the history tells them: newest first, those too young left out."""
        seen_until = self.now() - mode.lag
        shown = (job for job in reversed(self._jobs.values()) if job.created_at <= seen_until)
        yield from islice(islice(shown, mode.keep), skip, skip + count)

    def _make(
        self, request: JobRequest, contract: Contract, twist: Twist, price: int
    ) -> SimulatedJob:
        number = len(self._jobs)
        while (name := job_id(self._seed, number)) in self._jobs:
            number += 1
        return self._add(name, request, contract, twist, price, created_at=self.now())

    def _add(
        self,
        name: str,
        request: JobRequest,
        contract: Contract,
        twist: Twist,
        price: int,
        *,
        created_at: float,
    ) -> SimulatedJob:
        job = SimulatedJob(
            id=name,
            request=request,
            contract=contract,
            submission=self._submissions,
            created_at=created_at,
            takes=job_takes(name, self._job_seconds),
            credits=price,
            seed=self._seed + len(self._jobs),
            fails=twist.fails or FAIL_WORD in request.prompt,
            stuck=twist.stuck,
        )
        self._jobs[name] = job
        if job.fails and not job.stuck:
            heapq.heappush(self._to_refund, (job.finished_at, name))
        return job

    def _settle(self) -> None:
        """Give back what failed jobs cost, from the moment they failed."""
        now = self.now()
        while self._to_refund and self._to_refund[0][0] <= now:
            _, name = heapq.heappop(self._to_refund)
            self._refunded.add(name)
            self._balance += self._jobs[name].credits
