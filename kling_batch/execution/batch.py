"""A batch while it runs: its records, the store that keeps them, and who is told what happened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from kling_batch.clock import Clock
from kling_batch.errors import ExitCode
from kling_batch.execution.budget import committed, wrong_charge
from kling_batch.execution.submission import Settlement, Stop
from kling_batch.service.ledger import Ledger
from kling_batch.state.records import Record
from kling_batch.state.store import Attempt, Happening, Store
from kling_batch.structs import replace

# What was only noted waits at most so long for a commit.
NOTED_SECONDS = 1.0

Observer = Callable[[Happening], None]


@dataclass(slots=True)
class Batch:
    """The one writer of records. What they come to is committed before it is told.

    What nobody but the state could tell again is saved at once: what is bought, paid, given up.
    The rest is noted, and written within a second: what the service says of a job can be asked
    for again, and a video in its place has its receipt. So it may be said after what happened
    to another job meanwhile; a happening's `at` is when it was.

    `owners` maps every job id of this state to the job that has it; `spent` are the credits
    charged, in flight or perhaps charged, less refunds; `stop` is why no more is submitted,
    None while more may be.
    """

    store: Store
    ledger: Ledger
    clock: Clock
    observer: Observer
    records: dict[str, Record]
    owners: dict[str, str] = field(default_factory=dict)
    spent: int = 0
    stop: Stop | None = None
    _untold: list[Happening] | None = None
    _noted: dict[str, None] = field(default_factory=dict)  # ids, in order
    _noted_happenings: list[Happening] = field(default_factory=list)
    _noted_at: float = 0.0

    def __post_init__(self) -> None:
        self.owners = {r.job_id: r.id for r in self.records.values() if r.job_id}
        self.spent = committed(self.records.values())
        # Ids that came through `resolve`, or a ledger that was moved away: said once more.
        self.ledger.own(self.owners.keys() - self.ledger.owners().keys(), self.store.path)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is saved within is one commit; what happened is said when that is made."""
        untold: list[Happening] = []
        self._untold = untold
        try:
            with self.store.together():
                yield
        finally:
            self._untold = None
        self._say(untold)

    def _say(self, happenings: Iterable[Happening]) -> None:
        if self._untold is not None:
            self._untold.extend(happenings)
            return
        for happening in happenings:
            self.observer(happening)

    def save(self, records: Iterable[Record], happenings: Iterable[Happening]) -> None:
        """Commit these records, then say what happened; with them what was noted before."""
        fresh = {one: self.records[one] for one in self._noted}
        fresh.update((record.id, record) for record in records)
        told = [*self._noted_happenings, *happenings]
        self.store.save(fresh.values(), told)
        self._noted, self._noted_happenings = {}, []
        self._keep(fresh.values())
        self._say(told)

    def note(self, records: Collection[Record], happenings: Iterable[Happening]) -> None:
        """Keep what can be learned again if it is lost: the next `save` or `write_noted` has it."""
        if not self._noted:
            self._noted_at = self.clock.steady()
        self._keep(records)
        self._noted.update((record.id, None) for record in records)
        self._noted_happenings.extend(happenings)

    def write_noted(self, wait: float = inf) -> None:
        """Commit what was noted, where after such a wait (seconds) it would be too late.

        All of a second in one commit: with each submission's, it would cost as much as its own.
        """
        if self._noted and self.clock.steady() + wait - self._noted_at > NOTED_SECONDS:
            self.save((), ())

    def intend(self, record: Record, attempt: Attempt, happening: Happening) -> None:
        """Commit the write-ahead of a submission."""
        self.store.intend(record, attempt, happening)
        self._keep((record,))
        self._say((happening,))

    def settle(self, settlement: Settlement, balance: int | None = None) -> None:
        """Commit the answer to a submission, and the account's balance where it told that."""
        self.store.settle(settlement.attempt, settlement.records, settlement.happenings)
        fresh = [r.job_id for r in settlement.records if r.job_id]
        self.ledger.own(fresh, self.store.path, balance)
        self._keep(settlement.records)
        self._say(settlement.happenings)

    def rename(self, pairs: Mapping[str, str]) -> None:
        """Give records the ids that the manifest now uses, old to new."""
        now = self.clock.now()
        told = [Happening(now, "renamed", new, {"from": old}) for old, new in pairs.items()]
        self.store.rename(pairs, told)
        self.records.update(
            (new, replace(self.records.pop(old), id=new)) for old, new in pairs.items()
        )
        for record in tuple(self.records.values()):
            main = record.extra_of
            if main is not None and main in pairs:
                self.records[record.id] = replace(record, extra_of=pairs[main])
        self.owners = {r.job_id: r.id for r in self.records.values() if r.job_id}
        self._say(told)

    def drop(self, ids: Collection[str]) -> None:
        """Strike out records of jobs that were planned, never submitted, and are given up."""
        happening = Happening(self.clock.now(), "dropped", None, {"jobs": len(ids)})
        self.store.drop(ids, happening)
        for one in ids:
            del self.records[one]
        self._say((happening,))

    def tell(self, name: str, job: str | None = None, **detail: object) -> None:
        """Say what is worth saying and not worth keeping: a wait, a retry."""
        self.write_noted()  # what came before it is said before it
        self._say((Happening(self.clock.now(), name, job, detail),))

    def halt(self, stop: Stop) -> None:
        """Submit no more; the first reason stands."""
        if self.stop is None:
            self.stop = stop
            self.tell("stopped", code=int(stop.code), reason=stop.message)

    def compare_charge(self, record: Record, seconds_made: int | None) -> None:
        """Say it when a charge is unlike the plan; submit no more when the rates are wrong."""
        charged, planned = record.credits_charged, record.credits_planned
        if charged is None or charged == planned or record.extra_of is not None:
            return
        self.tell("charge_differs", record.id, planned=planned, charged=charged)
        wrong = wrong_charge(record, seconds_made)
        if wrong:
            mend = "mend `pricing` in the manifest, look at the plan, then go on"
            self.halt(Stop(ExitCode.BUDGET, wrong, mend))

    def _keep(self, records: Iterable[Record]) -> None:
        for record in records:
            # A running sum: adding up all records for each submission would be quadratic.
            before = self.records.get(record.id)
            self.spent += record.committed - (before.committed if before else 0)
            self.records[record.id] = record
            if record.job_id:
                self.owners[record.job_id] = record.id
