"""What an edit of a manifest changes: jobs and credits added, changed, removed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import Enum

from kling_batch.model import Job, Manifest, Pricing
from kling_batch.planning.plan import differences
from kling_batch.structs import dataclass


class Kind(str, Enum):
    """What became of a job; the values are what `plan --against --json` says.

    A renamed job asks for the same under another id, a repriced one for the same at another
    rate: neither is made again.
    """

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    RENAMED = "renamed"
    REPRICED = "repriced"


@dataclass(frozen=True, slots=True)
class JobChange:
    """One job that is not as it was. Credits are None where the job is not there.

    `was` is the id it had before, where that was another.
    """

    id: str
    kind: Kind
    reason: str
    before: int | None
    after: int | None
    was: str | None = None

    @property
    def difference(self) -> int:
        """Credits more than before."""
        return (self.after or 0) - (self.before or 0)


@dataclass(frozen=True, slots=True)
class Total:
    """All jobs of a manifest, and their price. `usd` is unrounded."""

    jobs: int
    credits: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Change:
    """What lies between two manifests. `rates` says what changed of the rate table."""

    name: str
    jobs: tuple[JobChange, ...]
    before: Total
    after: Total
    rates: tuple[str, ...] = ()

    def having(self, kind: Kind) -> tuple[JobChange, ...]:
        """The jobs of this kind."""
        return tuple(one for one in self.jobs if one.kind is kind)

    @property
    def to_make(self) -> int:
        """Credits for what is added and what would be made again."""
        return sum(one.after or 0 for one in self.jobs if one.kind in (Kind.ADDED, Kind.CHANGED))


def compare(old: Manifest | None, new: Manifest) -> Change:
    """The change from one manifest to the other; None: there was none before."""
    was = {job.id: job for job in old.jobs} if old else {}
    now = {job.id: job for job in new.jobs}
    old_prices = old.pricing if old else new.pricing
    renames = _renames(
        [job for job in was.values() if job.id not in now],
        [job for job in now.values() if job.id not in was],
    )
    taken = set(renames.values())
    changes = []
    for job in now.values():
        before = was.get(renames.get(job.id, job.id))
        made = _change(before, job, old_prices, new.pricing)
        if made is not None:
            changes.append(made)
    for job in was.values():
        if job.id not in now and job.id not in taken:
            price = old_prices.credits(job.request)
            changes.append(JobChange(job.id, Kind.REMOVED, _shape(job), price, None))
    return Change(
        name=new.name,
        jobs=tuple(changes),
        before=_total(was.values(), old_prices),
        after=_total(now.values(), new.pricing),
        rates=tuple(_rates(old_prices, new.pricing)),
    )


def _change(before: Job | None, job: Job, old_prices: Pricing, prices: Pricing) -> JobChange | None:
    price = prices.credits(job.request)
    if before is None:
        return JobChange(job.id, Kind.ADDED, _shape(job), None, price)
    paid = old_prices.credits(before.request)
    if before.request != job.request:
        reason = differences(before.request, job.request)
        return JobChange(job.id, Kind.CHANGED, reason, paid, price)
    if before.id != job.id:
        return JobChange(job.id, Kind.RENAMED, f"was {before.id}", paid, price, before.id)
    if paid != price:
        return JobChange(job.id, Kind.REPRICED, "", paid, price)
    return None


def _shape(job: Job) -> str:
    return f"{job.request.duration_seconds} s at {job.request.quality_mode}"


def _renames(gone: Iterable[Job], come: Iterable[Job]) -> dict[str, str]:
    """New ids that ask for just what an id that is gone asked for; each serves one."""
    free: dict[object, list[str]] = {}
    for job in gone:
        free.setdefault(job.request, []).append(job.id)
    renames = {}
    for job in come:
        if free.get(job.request):
            renames[job.id] = free[job.request].pop(0)
    return renames


def _total(jobs: Iterable[Job], prices: Pricing) -> Total:
    each = [prices.credits(job.request) for job in jobs]
    return Total(len(each), sum(each), prices.usd(sum(each)))


def _rates(was: Pricing, now: Pricing) -> Iterable[str]:
    for mode, rate in was.credits_per_second.items():
        if now.credits_per_second[mode] != rate:
            yield f"{mode}: {rate} → {now.credits_per_second[mode]} credits a second"
    if was.usd_per_credit != now.usd_per_credit:
        yield f"a credit: ${was.usd_per_credit} → ${now.usd_per_credit}"
