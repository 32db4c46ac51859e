"""A plan kept as a file: what was approved, what it rests on, and what of that has moved on. Pure.

A saved plan is carried out once. Its own run moves the state on, so that what an interruption
left over is never bought on the strength of the old approval: the next plan prices it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kling_batch.errors import UsageError
from kling_batch.manifest.schema import Checks, load_schema
from kling_batch.model import Budget, JobRequest, Pricing
from kling_batch.planning.plan import Action, Plan, PlannedJob, Wishes, differences
from kling_batch.structs import dataclass

KIND = "kling-batch plan"
VERSION = 1
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SavedJob:
    """One line of the plan: what was to be done with a job, and just what would be sent."""

    id: str
    action: Action
    reason: str
    credits: int
    request: JobRequest
    fingerprint: str
    output: str
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan with all that it rests on. `created_at` is ISO 8601.

    `path` is the manifest's, seen from the folder of the plan's own file; `serial` the state's,
    0 where there is none; `budget` the manifest's, `max_credits` the command line's.
    """

    created_at: str
    name: str
    path: str
    sha256: str
    serial: int
    simulated: bool
    service: str
    contract: str
    submissions_per_hour: int
    max_in_flight: int
    pricing: Pricing
    budget: Budget
    wishes: Wishes
    max_credits: int | None
    jobs: tuple[SavedJob, ...]

    @property
    def credits(self) -> int:
        """What was approved to be spent."""
        return sum(one.credits for one in self.jobs if one.action is Action.SUBMIT)


def saved_jobs(plan: Plan) -> tuple[SavedJob, ...]:
    """The plan's jobs as they are kept."""
    return tuple(_saved_job(one) for one in plan.jobs)


def _saved_job(one: PlannedJob) -> SavedJob:
    return SavedJob(
        one.id,
        one.action,
        one.reason,
        one.credits,
        one.request,
        one.fingerprint,
        one.output,
        one.renamed_from,
    )


# -- what has moved on ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a saved plan may not be run. `what` is "service", "state", "prices" or "jobs"."""

    what: str
    reason: str


def moved_on(saved: SavedPlan, present: SavedPlan) -> Stale | None:
    """The first thing in which the plan made now is not the one that was approved, or None.

    Both are whole plans, so nothing that decides what is bought can slip through: a comment or
    an order of keys in the manifest changes neither.
    """
    if saved.name != present.name:
        return Stale("jobs", f"it plans the batch {saved.name}, now named {present.name}")
    if saved.service != present.service:
        return Stale("service", f"it was made for {saved.service}, and this is {present.service}")
    if saved.contract != present.contract:
        return Stale("service", f"the contract was {saved.contract}, now it is {present.contract}")
    if saved.serial != present.serial:
        was = f"it stood at {saved.serial}" if saved.serial else "there was none"
        return Stale("state", f"the state has moved on: {was}, now it stands at {present.serial}")
    prices = [*_rates(saved.pricing, present.pricing), *_budget(saved.budget, present.budget)]
    if prices:
        return Stale("prices", "; ".join(prices))
    jobs = list(_jobs(saved, present))
    if jobs:
        more = f"; and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else ""
        return Stale("jobs", "; ".join(jobs[:_SHOWN]) + more)
    return None


def _rates(was: Pricing, now: Pricing) -> Iterator[str]:
    for mode, rate in was.credits_per_second.items():
        new = now.credits_per_second[mode]
        if rate != new:
            yield f"{mode} cost {rate} credits a second, now {new}"
    if was.usd_per_credit != now.usd_per_credit:
        yield f"a credit cost ${was.usd_per_credit}, now ${now.usd_per_credit}"


def _budget(was: Budget, now: Budget) -> Iterator[str]:
    for key in ("max_credits", "min_balance"):
        old, new = getattr(was, key), getattr(now, key)
        if old != new:
            yield f"budget.{key} was {_limit(old)}, now {_limit(new)}"


def _limit(credits: int | None) -> str:
    return "not set" if credits is None else f"{credits:,}"


def _jobs(saved: SavedPlan, present: SavedPlan) -> Iterator[str]:
    was = {job.id: job for job in saved.jobs}
    now = {job.id: job for job in present.jobs}
    for job_id in was.keys() - now.keys():
        yield f"{job_id} is no longer planned"
    for job_id, job in now.items():
        old = was.get(job_id)
        if old is None:
            yield f"{job_id} is new"
        elif old.fingerprint != job.fingerprint:
            yield f"{job_id}: {differences(old.request, job.request)}"
        elif (old.action, old.renamed_from) != (job.action, job.renamed_from):
            yield f"{job_id} was planned as {old.action.value}, now {job.action.value}"
        elif (old.credits, old.output) != (job.credits, job.output):
            was_so, is_so = f"{old.credits} credits, {old.output}", f"{job.credits}, {job.output}"
            yield f"{job_id}: {was_so}; now {is_so}"


# -- as a file (schemas/saved-plan.v1.schema.json) ----------------------------------------


def as_json(saved: SavedPlan) -> dict[str, Any]:
    """The saved plan as plain values."""
    pricing, wishes = saved.pricing, saved.wishes
    return {
        "kind": KIND,
        "version": VERSION,
        "created_at": saved.created_at,
        "manifest": {"name": saved.name, "path": saved.path, "sha256": saved.sha256},
        "state": {"serial": saved.serial},
        "simulated": saved.simulated,
        "service": {
            "url": saved.service,
            "contract": saved.contract,
            "submissions_per_hour": saved.submissions_per_hour,
            "max_in_flight": saved.max_in_flight,
        },
        "pricing": {
            "as_of": pricing.as_of and pricing.as_of.isoformat(),
            "credits_per_second": dict(pricing.credits_per_second),
            "usd_per_credit": str(pricing.usd_per_credit),
        },
        "budget": {
            "max_credits": saved.budget.max_credits,
            "min_balance": saved.budget.min_balance,
        },
        "wishes": {
            "only": list(wishes.only),
            "retry_failed": wishes.retry_failed,
            "redo_changed": wishes.redo_changed,
            "max_credits": saved.max_credits,
        },
        "jobs": [_job_json(job) for job in saved.jobs],
        "totals": {"jobs": len(saved.jobs), "credits": saved.credits},
    }


def _job_json(job: SavedJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "action": job.action.value,
        "reason": job.reason,
        "credits": job.credits,
        "fingerprint": job.fingerprint,
        "output": job.output,
        "renamed_from": job.renamed_from,
        **{name: getattr(job.request, name) for name in JobRequest.__slots__},
    }


def read_saved(text: bytes) -> SavedPlan | None:
    """The saved plan in these bytes, or None where they hold something else (a manifest).

    Raises UsageError for a plan that is newer, broken, or not as it was saved.
    """
    if text.lstrip()[:1] != b"{":
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if KIND.encode() in text[:200]:
            raise _not_as_saved() from None
        return None  # a manifest in YAML's flow style
    if not isinstance(value, dict) or value.get("kind") != KIND:
        return None
    if value.get("version") != VERSION:
        raise UsageError(
            f"this plan has version {value.get('version')!s:.20}, this kling-batch reads {VERSION}",
            "save the plan again with this kling-batch",
        )
    if not Checks(load_schema("saved-plan")).check(load_schema("saved-plan"))(value):
        raise _not_as_saved()
    saved = _read(value)
    whole = all(job.request.fingerprint() == job.fingerprint for job in saved.jobs)
    if not whole or saved.credits != value["totals"]["credits"]:
        raise _not_as_saved()
    return saved


def _not_as_saved() -> UsageError:
    return UsageError("this plan is not as it was saved", "save it again; plans are not edited")


def _read(value: Mapping[str, Any]) -> SavedPlan:
    from datetime import date
    from decimal import Decimal

    manifest, service, wishes = value["manifest"], value["service"], value["wishes"]
    pricing, as_of = value["pricing"], value["pricing"]["as_of"]
    try:
        rates = Pricing(
            as_of=as_of and date.fromisoformat(as_of),
            credits_per_second={
                "720p": pricing["credits_per_second"]["720p"],
                "1080p": pricing["credits_per_second"]["1080p"],
            },
            usd_per_credit=Decimal(pricing["usd_per_credit"]),
        )
    except ValueError:
        raise _not_as_saved() from None
    return SavedPlan(
        created_at=value["created_at"],
        name=manifest["name"],
        path=manifest["path"],
        sha256=manifest["sha256"],
        serial=value["state"]["serial"],
        simulated=value["simulated"],
        service=service["url"],
        contract=service["contract"],
        submissions_per_hour=service["submissions_per_hour"],
        max_in_flight=service["max_in_flight"],
        pricing=rates,
        budget=Budget(value["budget"]["max_credits"], value["budget"]["min_balance"]),
        wishes=Wishes(
            only=tuple(wishes["only"]),
            retry_failed=wishes["retry_failed"],
            redo_changed=wishes["redo_changed"],
        ),
        max_credits=wishes["max_credits"],
        jobs=tuple(_read_job(job) for job in value["jobs"]),
    )


def _read_job(job: Mapping[str, Any]) -> SavedJob:
    return SavedJob(
        id=job["id"],
        action=Action(job["action"]),
        reason=job["reason"],
        credits=job["credits"],
        request=JobRequest(**{name: job[name] for name in JobRequest.__slots__}),
        fingerprint=job["fingerprint"],
        output=job["output"],
        renamed_from=job["renamed_from"],
    )
