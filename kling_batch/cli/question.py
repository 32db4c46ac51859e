"""The questions: before anything is bought, and after the first jobs. Only `yes` is yes."""

from __future__ import annotations

import sys

from kling_batch.cli.console import count, dollars
from kling_batch.cli.progress import Progress
from kling_batch.cli.surroundings import interactive
from kling_batch.cli.workspace import Workspace
from kling_batch.errors import Declined, UsageError
from kling_batch.execution.runner import CanaryReport
from kling_batch.manifest.problems import clean
from kling_batch.planning.plan import Action, Plan
from kling_batch.state.records import JobState


def ask(plan: Plan, workspace: Workspace) -> None:
    """Ask for the plan's price. Raises Declined, or UsageError where nobody can be asked."""
    if not interactive():
        raise UsageError(
            f"this would spend {plan.credits:,} credits, and there is no terminal to ask on",
            "add --yes to approve the plan",
        )
    price = dollars(workspace.manifest.pricing.usd(plan.credits))
    where = ""
    if workspace.simulated:
        where = " on the simulator"
    elif not workspace.address.is_default:
        where = f" at {clean(workspace.address.url)}"
    jobs = count(len(plan.having(Action.SUBMIT)), "job")
    question = f"Submit {jobs} for {plan.credits:,} credits (about {price}){where}?"
    if not _yes(question):
        raise Declined("nothing was submitted", "only `yes` is taken for yes")


def _yes(question: str) -> bool:
    print(f"{question} Only `yes` is yes: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"


def confirm_canary(report: CanaryReport, progress: Progress, approved: bool) -> bool:
    """Show what the first jobs came to, and ask whether to go on."""
    for record in report.jobs:
        charged = "not told" if record.credits_charged is None else f"{record.credits_charged:,}"
        progress.note(
            f"{record.id}  {record.state.value}, charged: {charged}"
            f" (planned: {record.credits_planned:,})  {record.output}"
        )
    as_planned = all(
        record.state is JobState.DOWNLOADED
        and record.credits_charged in (None, record.credits_planned)
        for record in report.jobs
    )
    if not interactive():
        # `--yes` approved the plan, so it stands for going on exactly where all went by the plan.
        return approved and as_planned
    return _yes(f"Go on with {count(report.left, 'job')} for {report.credits_left:,} credits?")
