"""`retry`: a run of the jobs that failed."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from kling_batch.cli.assembly import Manner
from kling_batch.cli.conclusion import summary_event
from kling_batch.cli.console import say
from kling_batch.cli.progress import write_event
from kling_batch.cli.run import run_batch, workspace_for
from kling_batch.cli.workspace import look_at_records
from kling_batch.errors import ExitCode, UsageError
from kling_batch.planning.plan import Wishes
from kling_batch.state.records import JobState

_FAILED = (JobState.FAILED, JobState.REJECTED)


def command(
    manifest: str, *, ids: list[str], simulate: bool, base_url: str | None, **manner: Any
) -> ExitCode:
    """Run these jobs, or all that failed, once more."""
    how = Manner(**manner)
    with workspace_for(manifest, base_url, simulate) as workspace:
        records = look_at_records(workspace)
        failed = [record.id for record in records.values() if record.state in _FAILED]
        for one in ids:
            if one in failed:
                continue
            if one in records:
                raise UsageError(
                    f"{one} did not fail: it is {records[one].state.value}",
                    "retry takes jobs that failed",
                )
            near = get_close_matches(one, failed, 1)
            raise UsageError(
                f"no job {one} has been run",
                f"do you mean {near[0]}?" if near else "see: kling-batch status",
            )
        if not failed:
            say("No job failed; there is nothing to retry.")
            if how.wants_json:
                write_event(summary_event(ExitCode.DONE, (), workspace))
            return ExitCode.DONE
        wishes = Wishes(retry_ids=tuple(ids or failed))
        return run_batch(workspace, manifest, wishes, how)
