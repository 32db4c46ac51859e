"""Manifest and state to Plan: what is to be done with every job, why, and what it costs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase

from kling_batch.model import Job, JobRequest, Manifest
from kling_batch.planning.timetable import Timetable
from kling_batch.state.records import IN_FLIGHT, PAID, JobState, Record
from kling_batch.structs import dataclass


class Action(str, Enum):
    """What a run does with a job; the values are what `plan --json` says."""

    SUBMIT = "submit"
    RESUME = "resume"
    DOWNLOAD = "download"
    DONE = "done"
    CHANGED = "changed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for beyond the manifest. `only` are globs over ids, none: all."""

    only: tuple[str, ...] = ()
    retry_failed: bool = False
    retry_ids: tuple[str, ...] = ()
    redo_changed: bool = False


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job with its action. `job` is None for an orphan, `record` where there is none yet.

    `credits` is the price of the request by the rate table, `output` the file's path below
    the manifest's folder. `renamed_from` is the id under which the state knows this job.
    """

    id: str
    action: Action
    reason: str
    credits: int
    request: JobRequest
    output: str
    job: Job | None = None
    record: Record | None = None
    renamed_from: str | None = None

    @property
    def fingerprint(self) -> str:
        """What changes exactly when the request does; made when asked for, as few plans need it."""
        return self.request.fingerprint()

    @property
    def follows(self) -> bool:
        """Whether a run polls or downloads it: it was paid for and its file is not there yet."""
        if self.action in (Action.RESUME, Action.DOWNLOAD):
            return True
        state = self.record.state if self.record else None
        return self.action is Action.CHANGED and (state in IN_FLIGHT or state is JobState.COMPLETED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do. Jobs stand in the manifest's order, orphans behind them.

    `dropped` are ids of records that were approved once, never submitted, and are gone from
    the manifest since: a run strikes them out.
    """

    name: str
    jobs: tuple[PlannedJob, ...]
    timetable: Timetable
    warnings: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def having(self, *actions: Action) -> tuple[PlannedJob, ...]:
        """The jobs with one of these actions."""
        return tuple(one for one in self.jobs if one.action in actions)

    @property
    def credits(self) -> int:
        """What this run would spend."""
        return sum(one.credits for one in self.jobs if one.action is Action.SUBMIT)

    def by_action(self) -> dict[Action, list[PlannedJob]]:
        """The jobs with each of the actions, in one pass."""
        groups: dict[Action, list[PlannedJob]] = {action: [] for action in Action}
        for one in self.jobs:
            groups[one.action].append(one)
        return groups

    @property
    def anything_to_do(self) -> bool:
        """Whether a run would submit, follow, download or settle something."""
        # Most jobs of a large batch are done, and asking each for more would take a while.
        open_ones = (one for one in self.jobs if one.action is not Action.DONE)
        return any(
            one.follows or one.action in (Action.SUBMIT, Action.UNKNOWN) for one in open_ones
        )


def plan_jobs(
    manifest: Manifest,
    records: Mapping[str, Record],
    wishes: Wishes,
    folder: str,
    absent_files: Collection[str] = (),
) -> tuple[PlannedJob, ...]:
    """Every job with its action.

    `folder` is where results go, below the manifest's folder; `absent_files` are the ids of
    downloaded jobs whose file is gone.
    """
    requests = {job.id: job.request for job in manifest.jobs}
    renames = find_renames(requests, records, manifest.decisions, manifest.redone)
    everything = not wishes.only and not wishes.retry_ids
    credits_of = manifest.pricing.credits
    planned = []
    for job in manifest.jobs:
        if not everything and not _chosen(job.id, wishes):
            continue
        old = renames.get(job.id) if renames else None
        record = records.get(old or job.id)
        action, reason = decide(job, record, wishes, absent_files)
        if old:
            reason = f"renamed from {old}: {reason}"
        elif record is None and job.id in manifest.redone:
            reason = f"a new take: {manifest.redone[job.id]} is to be redone"
        price, output = credits_of(job.request), f"{folder}/{job.output}"
        planned.append(
            PlannedJob(job.id, action, reason, price, job.request, output, job, record, old)
        )
    return (*planned, *_orphans(requests, records, renames, wishes, manifest.decisions))


def dropped_unbought(
    manifest: Manifest, records: Mapping[str, Record], wishes: Wishes
) -> tuple[str, ...]:
    """The records that can be struck out: never submitted, and no longer in the manifest."""
    unbought = [
        record.id
        for record in records.values()
        if record.state is JobState.PLANNED and not record.attempts and not record.credits_spent
    ]
    if not unbought or wishes.only or wishes.retry_ids:
        return ()  # what a choice leaves out of sight is left alone
    ids = {job.id for job in manifest.jobs}
    return tuple(one for one in unbought if one not in ids)


_DOWNLOADED = JobState.DOWNLOADED
_DONE = Action.DONE, "downloaded"


def decide(
    job: Job,
    record: Record | None,
    wishes: Wishes,
    absent_files: Collection[str] = (),
) -> tuple[Action, str]:
    """The action for one job of the manifest, and the reason as a person reads it."""
    if record is None:
        return Action.SUBMIT, "new"
    same = record.request is job.request or record.request == job.request
    if record.state is _DOWNLOADED and same and record.id not in absent_files:
        return _DONE  # first, since of a large batch most are
    if record.state is JobState.PLANNED:
        return Action.SUBMIT, "not submitted yet"
    if record.state is JobState.UNKNOWN:
        return Action.UNKNOWN, "a submission's outcome is unknown"
    if record.state in (JobState.FAILED, JobState.REJECTED):
        return _decide_failed(job, record, wishes, same)
    if not same:
        return _decide_changed(job, record, wishes)
    if record.state is _DOWNLOADED:
        return Action.DOWNLOAD, f"{record.output} is gone; it is fetched again at no cost"
    if record.state is JobState.MISSING:
        return Action.RESUME, "the service did not know it when last asked; it is asked once more"
    if record.state in IN_FLIGHT:
        return Action.RESUME, f"in flight as {record.job_id}"
    return Action.DOWNLOAD, "made, not yet downloaded"


def _decide_failed(job: Job, record: Record, wishes: Wishes, same: bool) -> tuple[Action, str]:
    what = "refused" if record.state is JobState.REJECTED else "failed"
    why = f"{what}: {record.error}" if record.error else what
    if not same:
        return Action.SUBMIT, f"{what} before, and {differences(record.request, job.request)}"
    if wishes.retry_failed or record.id in wishes.retry_ids or job.id in wishes.retry_ids:
        return Action.SUBMIT, f"tried again ({why})"
    return Action.FAILED, f"{why}; kept unless --retry-failed"


def _decide_changed(job: Job, record: Record, wishes: Wishes) -> tuple[Action, str]:
    what = differences(record.request, job.request)
    if record.state is not JobState.DOWNLOADED:
        return Action.CHANGED, f"{what}; it is in flight as it was and is followed to its end"
    if wishes.redo_changed:
        return Action.SUBMIT, f"made again: {what}"
    return Action.CHANGED, f"{what}; kept unless --redo-changed"


def find_renames(
    requests: Mapping[str, JobRequest],
    records: Mapping[str, Record],
    decided: Collection[str] = (),
    redone: Collection[str] = (),
) -> dict[str, str]:
    """New ids whose very request was already paid for under an id that the manifest dropped.

    Each such record serves one new id, so that a renamed job is never bought again. Not meant
    are takes that the manifest still names in its decisions, and new ones that it asks for.
    """
    dropped: dict[JobRequest, list[str]] = {}
    for record in records.values():
        if record.id in requests or record.id in decided:
            continue
        if record.state in PAID and record.extra_of is None:
            dropped.setdefault(record.request, []).append(record.id)
    renames: dict[str, str] = {}
    if not dropped:
        return renames
    for new, request in requests.items():
        if new not in records and new not in redone and dropped.get(request):
            renames[new] = dropped[request].pop(0)
    return renames


def differences(old: JobRequest, new: JobRequest) -> str:
    """What the manifest now asks otherwise: "prompt changed: “…” → “…”"."""
    found = []
    for name in JobRequest.__slots__:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            label = name.replace("_", " ")
            found.append(f"{label} changed: {_short(before, after)} → {_short(after, before)}")
    return "; ".join(found)


def _short(value: object, other: object) -> str:
    """The value, cut to the neighbourhood of its first difference from the other."""
    text, against = str(value), str(other)
    if len(text) <= 40:
        return f"“{text}”" if isinstance(value, str) else text
    start = next((i for i, (a, b) in enumerate(zip(text, against, strict=False)) if a != b), 0)
    start = max(0, min(start - 12, len(text) - 36))
    cut = text[start : start + 36].replace("\n", " ")
    return f"“{'…' if start else ''}{cut}{'…' if start + 36 < len(text) else ''}”"


def _orphans(
    ids: Collection[str],
    records: Mapping[str, Record],
    renames: Mapping[str, str],
    wishes: Wishes,
    decisions: Mapping[str, str],
) -> Iterable[PlannedJob]:
    taken_over = {old: new for new, old in renames.items()}
    for record in records.values():
        if record.id in ids or not _chosen(record.id, wishes):
            continue
        action, reason = Action.ORPHAN, "no longer in the manifest; never touched"
        if record.id in taken_over:
            reason = f"renamed to {taken_over[record.id]} in the manifest"
        elif record.state is JobState.PLANNED:
            continue  # never submitted: nothing of it is worth keeping
        elif record.extra_of is not None:
            action, reason = _decide_extra(record)
        elif record.id in decisions:
            reason = f"a take of an earlier redo ({decisions[record.id]}); kept"
        yield PlannedJob(
            id=record.id,
            action=action,
            reason=reason,
            credits=record.credits_planned,
            request=record.request,
            output=record.output,
            record=record,
        )


def _decide_extra(record: Record) -> tuple[Action, str]:
    reason = f"one more job that the service made for {record.extra_of}"
    if record.state in IN_FLIGHT or record.state is JobState.MISSING:
        return Action.RESUME, reason
    if record.state is JobState.COMPLETED:
        return Action.DOWNLOAD, reason
    if record.state is JobState.DOWNLOADED:
        return Action.DONE, reason
    return Action.ORPHAN, reason


def _chosen(job_id: str, wishes: Wishes) -> bool:
    if wishes.retry_ids and job_id not in wishes.retry_ids:
        return False
    return not wishes.only or any(fnmatchcase(job_id, glob) for glob in wishes.only)


def unmatched(globs: Sequence[str], jobs: Iterable[PlannedJob]) -> list[str]:
    """The globs that match no job: likely misspelt."""
    ids = [one.id for one in jobs]
    return [glob for glob in globs if not any(fnmatchcase(one, glob) for one in ids)]
