"""How a run ended, in words and as the last event, with the command that goes on."""

from __future__ import annotations

from collections.abc import Iterable

from kling_batch.cli.console import count, say
from kling_batch.cli.next_commands import Next
from kling_batch.cli.plan_view import iso
from kling_batch.cli.progress import totals_text
from kling_batch.cli.status_view import charged_text, totals_json
from kling_batch.cli.surroundings import this_command
from kling_batch.cli.workspace import Workspace
from kling_batch.errors import ExitCode
from kling_batch.execution.runner import Result
from kling_batch.manifest.problems import clean
from kling_batch.planning.plan import Action, Plan
from kling_batch.report.page import PAGE
from kling_batch.state.records import JobState, Record


def say_nothing_to_do(plan: Plan, workspace: Workspace, after: Next) -> None:
    """All that could be done is done: what failed is kept, the rest is there."""
    if plan.having(Action.FAILED):
        say("Nothing to buy; what failed is kept as it is.")
        say(f"To try it again: {after.retry}")
        return
    say("All is done; nothing was bought.")
    say_where(workspace)


def say_end(
    result: Result,
    records: dict[str, Record],
    plan: Plan,
    workspace: Workspace,
    after: Next,
    *,
    quiet: bool,
) -> None:
    """What is there and what was paid, why it stopped, what waits for a decision."""
    if not quiet:
        chosen = [records[one.id] for one in plan.jobs if one.id in records]
        states = [record.state for record in chosen]
        failed = sum(s in (JobState.FAILED, JobState.REJECTED) for s in states)
        say(
            totals_text(
                states.count(JobState.DOWNLOADED),
                failed,
                charged_text(chosen),
            )
        )
        if JobState.DOWNLOADED in states:
            say_where(workspace)
    if result.stop is not None:
        say(f"stopped: {clean(result.stop.message)}")
        if result.stop.hint:
            say(f"  {result.stop.hint}")
    _say_undecided(result, records, after)
    if result.exit_code is ExitCode.JOBS_FAILED:
        say(f"To try what failed again: {after.retry}")
    elif result.unfinished:
        say(f"To go on with the {count(result.unfinished, 'job')} left: {after.run}")


def say_where(workspace: Workspace) -> None:
    """Where the videos and the page lie."""
    say(f"The videos are in {workspace.output_directory}/")
    page = workspace.output_directory / PAGE
    if page.exists():
        say(f"The gallery is {page}")


def _say_undecided(result: Result, records: dict[str, Record], after: Next) -> None:
    for job, evidence in result.undecided.items():
        record = records[job]
        sent = iso(record.submitted_at)
        say(f"{job}: sent at {sent}; no clear answer came, and nothing was resent.")
        found = f" ({', '.join(evidence.job_ids)})" if evidence.job_ids else ""
        say(f"  what is known: {clean(evidence.reason)}{found}")
        for answer, meaning in (
            ("--job-id J", "it is job J of the service's history"),
            ("--not-charged", "it was not made: plan it again"),
            ("--forget", "give it up as spent: plan it again"),
        ):
            words = this_command("resolve", after.resolve[0], job, *after.resolve[1:])
            say(f"  {words} {answer:<14} # {meaning}")


def summary_event(
    code: ExitCode, chosen: Iterable[Record], workspace: Workspace
) -> dict[str, object]:
    """The last event of `run --json`, and what `--on-finish` is given."""
    return {
        "event": "summary",
        "at": iso(workspace.clock.now()),
        "exit_code": int(code),
        "totals": totals_json(chosen),
    }
