"""`resolve`: the user's word on a submission whose outcome is unknown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from kling_batch.cli.console import show
from kling_batch.cli.surroundings import this_command
from kling_batch.clock import SystemClock
from kling_batch.errors import ExitCode, UsageError
from kling_batch.execution.submission import adopted, not_made
from kling_batch.manifest.load import manifest_name
from kling_batch.state.opening import Identity, state_path, writing
from kling_batch.state.records import JobState
from kling_batch.state.store import Attempt

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def command(
    manifest: str,
    *,
    id: str,  # noqa: A002 -- the name on the command line
    job_id: str | None,
    not_charged: bool,
    forget: bool,
    simulate: bool,
) -> ExitCode:
    """Settle it as the user says; nothing is sent."""
    source = Path(manifest)
    name = manifest_name(source)
    path = state_path(source.parent, name, simulated=simulate)
    if not path.exists():
        raise UsageError(
            f"{name} has not been run: there is nothing to resolve",
            f"to begin: {this_command('run', manifest)}",
        )
    now = SystemClock().now()
    with writing(path, Identity(name, source.name), now) as store:
        records = store.records()
        record = records.get(id)
        if record is None:
            raise UsageError(
                f"no job {id} has been run", f"see: {this_command('status', manifest)}"
            )
        if record.state not in (JobState.UNKNOWN, JobState.MISSING):
            raise UsageError(
                f"{id} needs no decision: it is {record.state.value}", "nothing was changed"
            )
        attempt = store.attempts().get(id) or Attempt(id, id, record.fingerprint, now)
        if job_id is not None:
            _check_free(job_id, {r.job_id: r.id for r in records.values() if r.job_id}, id)
            settlement = adopted(record, attempt, job_id, now)
            said = f"{id} is job {job_id}; the next run follows it"
        elif not_charged:
            settlement = not_made(record, attempt, "not charged", now)
            said = f"{id} was not charged; the next run plans it again"
        else:
            settlement = not_made(record, attempt, "forgotten", now)
            said = f"{id} is given up as spent; the next run plans it again"
        told = [
            replace(one, detail={**(one.detail or {}), "by": "user"})
            for one in settlement.happenings
        ]
        store.settle(settlement.attempt, settlement.records, told)
    show(said)
    words = [manifest, "--simulate"] if simulate else [manifest]
    show(f"To go on: {this_command('run', *words)}")
    return ExitCode.DONE


def _check_free(job_id: str, owners: dict[str, str], job: str) -> None:
    if not _JOB_ID.match(job_id):
        raise UsageError(f"{job_id!r} is no job id", "copy it from the service's history")
    owner = owners.get(job_id)
    if owner is not None and owner != job:
        raise UsageError(f"job {job_id} is already {owner}'s", "one job can't be two")
