"""Makes the plan from what the manifest, the state, the account and the disk say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from kling_batch.cli.plan_warnings import plan_warnings
from kling_batch.cli.surroundings import this_command
from kling_batch.cli.workspace import Account, State, Workspace
from kling_batch.errors import UsageError
from kling_batch.planning.plan import Action, Plan, Wishes, dropped_unbought, plan_jobs, unmatched
from kling_batch.planning.timetable import TYPICAL_SECONDS, make_timetable
from kling_batch.state.records import JobState, Record
from kling_batch.structs import replace

MEASURED_JOBS = 3


def make_plan(
    workspace: Workspace,
    state: State,
    wishes: Wishes,
    account: Account,
    max_credits: int | None = None,
) -> Plan:
    """The plan as the manifest, the state and the account stand."""
    manifest, records = workspace.manifest, state.records
    everything = plan_jobs(
        manifest, records, wishes, workspace.folder, _absent(manifest.directory, records)
    )
    whole = this_command("plan", str(manifest.source), *workspace.words)
    for glob in unmatched(wishes.only, everything):
        raise UsageError(f"--only {glob} matches no job", f"see the ids with: {whole}")
    submissions = sum(one.action is Action.SUBMIT for one in everything)
    followed = sum(one.follows for one in everything if one.action is not Action.DONE)
    timetable = make_timetable(
        submissions=submissions,
        in_flight=followed,
        now=workspace.clock.now(),
        per_hour=10**6 if workspace.simulated else manifest.service.submissions_per_hour,
        max_in_flight=manifest.service.max_in_flight,
        ages=account.ages,
        blocked_for=account.blocked_for,
        typical_seconds=typical_seconds(records.values()) if submissions or followed else 0.0,
    )
    plan = Plan(manifest.name, everything, timetable)
    return replace(
        plan,
        warnings=plan_warnings(workspace, plan, state, account, max_credits),
        dropped=dropped_unbought(manifest, records, wishes),
    )


def typical_seconds(records: Iterable[Record]) -> float:
    """How long a job takes: the median of this state's own, once there are a few."""
    took = sorted(
        record.finished_at - record.submitted_at
        for record in records
        if record.state in (JobState.DOWNLOADED, JobState.COMPLETED)
        and record.finished_at is not None
        and record.submitted_at is not None
    )
    return took[len(took) // 2] if len(took) >= MEASURED_JOBS else TYPICAL_SECONDS


def _absent(directory: Path, records: Mapping[str, Record]) -> set[str]:
    """The downloaded jobs whose file is no longer there."""
    folders: set[str] = set()
    present: set[str] = set()
    absent = set()
    downloaded = JobState.DOWNLOADED
    for record in records.values():
        output = record.output
        if record.state is not downloaded or output in present:
            continue
        folder = output.rpartition("/")[0]
        if folder not in folders:
            folders.add(folder)
            present |= _files_in(directory, folder)
        if output not in present and not (directory / output).exists():
            absent.add(record.id)
    return absent


def _files_in(directory: Path, folder: str) -> set[str]:
    """The files of a folder, asked for once: a look for each of 100,000 takes a second.

    What is not among them is looked for by itself: a link, or a name in another case or form.
    """
    try:
        with os.scandir(directory / folder) as entries:
            names = [entry.name for entry in entries if not entry.is_symlink()]
    except OSError:
        return set()
    return {f"{folder}/{name}" if folder else name for name in names}
