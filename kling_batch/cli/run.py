"""`run`: the plan, the question, then submit, follow and download; the same command resumes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kling_batch.cli.assembly import Manner, build
from kling_batch.cli.conclusion import say_end, say_nothing_to_do, summary_event
from kling_batch.cli.console import coloured, say
from kling_batch.cli.finish import ring, run_hook
from kling_batch.cli.next_commands import Next, next_commands
from kling_batch.cli.plan_view import plan_text
from kling_batch.cli.planner import make_plan
from kling_batch.cli.progress import Progress, write_event
from kling_batch.cli.question import ask
from kling_batch.cli.saved_plan import Approved, find_saved
from kling_batch.cli.signals import interruptible
from kling_batch.cli.simulated_inputs import draw_inputs
from kling_batch.cli.surroundings import find_key, this_command
from kling_batch.cli.workspace import (
    SIMULATED_KEY,
    Workspace,
    account_of,
    open_ledger,
    open_workspace,
    planning_workspace,
    simulated_workspace,
    state_of,
)
from kling_batch.errors import ExitCode, UsageError
from kling_batch.execution.runner import Result, Runner
from kling_batch.manifest.problems import clean
from kling_batch.planning.plan import Action, Plan, Wishes
from kling_batch.report.live import LivePage
from kling_batch.state.opening import writing
from kling_batch.state.records import Record
from kling_batch.state.store import Happening
from kling_batch.structs import replace


def command(
    manifests: list[str],
    *,
    only: list[str],
    retry_failed: bool,
    redo_changed: bool,
    simulate: bool,
    base_url: str | None,
    **manner: Any,
) -> ExitCode:
    """Do what each plan says, after the user said yes to it; one manifest after another."""
    wishes = Wishes(only=tuple(only), retry_failed=retry_failed, redo_changed=redo_changed)
    how = Manner(**manner)
    if len(manifests) > 1:
        return _run_several(manifests, wishes, how, base_url, simulate)
    return _run_one(manifests[0], wishes, how, base_url, simulate)


def _run_several(
    manifests: list[str], wishes: Wishes, manner: Manner, base_url: str | None, simulate: bool
) -> ExitCode:
    """Each with its own plan and question, up to the first that does not come to its end."""
    if manner.max_credits is not None:
        raise UsageError(
            "--max-credits bounds one batch, and several are named",
            "run them one by one, or give each manifest a budget.max_credits",
        )
    for name in manifests:  # nothing is bought while a later one can't be read
        if find_saved(name) is None and name != "-":
            planning_workspace(name, base_url, simulate)
    worst = ExitCode.DONE
    for number, name in enumerate(manifests, 1):
        code = _run_one(name, wishes, manner, base_url, simulate)
        worst = max(worst, code)
        if code not in (ExitCode.DONE, ExitCode.JOBS_FAILED):
            left = manifests[number:]
            if left:
                flags = ["--base-url", base_url] if base_url else []
                flags += ["--simulate"] if simulate else []
                say(f"Not begun: {this_command('run', *left, *flags)}")
            break
    return worst


def _run_one(
    name: str, wishes: Wishes, manner: Manner, base_url: str | None, simulate: bool
) -> ExitCode:
    approved = find_saved(name)
    if approved is None:
        with workspace_for(name, base_url, simulate) as workspace:
            return run_batch(workspace, name, wishes, manner)
    saved = approved.plan
    if wishes != Wishes():
        raise UsageError(
            f"{name} is a saved plan: it does just what was approved",
            "leave out --only, --retry-failed and --redo-changed, or plan again with them",
        )
    if simulate and not saved.simulated:
        raise UsageError(f"{name} was not made for the simulator", "plan again with --simulate")
    bounds = [one for one in (saved.max_credits, manner.max_credits) if one is not None]
    manner = replace(manner, yes=True, max_credits=min(bounds, default=None))
    with workspace_for(approved.manifest, base_url, saved.simulated) as workspace:
        return run_batch(workspace, approved.manifest, saved.wishes, manner, approved)


@contextmanager
def workspace_for(manifest: str, base_url: str | None, simulate: bool) -> Iterator[Workspace]:
    """The workspace, with a simulator of its own where one is wanted."""
    if simulate:
        with simulated_workspace(manifest) as (workspace, _):
            yield workspace
    else:
        yield open_workspace(manifest, base_url)


def run_batch(
    workspace: Workspace,
    manifest: str,
    wishes: Wishes,
    manner: Manner,
    approved: Approved | None = None,
) -> ExitCode:
    """The whole run: from here on the state is held, so that what was approved is what is sent."""
    key = SIMULATED_KEY if workspace.simulated else find_key(workspace.manifest.directory)
    after = next_commands(workspace, manifest, wishes, manner.max_credits)
    with writing(workspace.state_file, workspace.identity, workspace.clock.now()) as store:
        ledger = open_ledger(workspace, key)
        try:
            store.note(ledger=str(ledger.path))  # where `status` finds the balance, without a key
            state = state_of(store)
            records = state.records
            plan = make_plan(workspace, state, wishes, account_of(ledger), manner.max_credits)
            if approved is not None:
                approved.hold_to(plan, workspace, state, ledger)
            if not manner.quiet:
                _show_plan(plan, workspace)
            if not plan.anything_to_do:
                if plan.dropped:
                    store.drop(plan.dropped, Happening(workspace.clock.now(), "dropped"))
                return _nothing_to_do(plan, records, workspace, manner, after)
            if plan.credits and not manner.yes:
                ask(plan, workspace)
            if workspace.simulated:
                draw_inputs(plan, workspace.output_directory)
            else:
                store.note(service=workspace.address.url)
            parts = build(workspace, store, ledger, records, plan, key, manner)
            with interruptible(parts[0], after.run):
                result = _run(*parts)
                say_end(result, records, plan, workspace, after, quiet=manner.quiet)
            return _finish(result.exit_code, records, plan, workspace, manner)
        finally:
            ledger.close()


def _run(runner: Runner, progress: Progress, page: LivePage) -> Result:
    try:
        return runner.run()
    finally:
        progress.close()
        page.close()
        if page.problem is not None:
            say(f"the page was not written: {clean(page.problem.message)}")


def _nothing_to_do(
    plan: Plan,
    records: dict[str, Record],
    workspace: Workspace,
    manner: Manner,
    after: Next,
) -> ExitCode:
    code = ExitCode.JOBS_FAILED if plan.having(Action.FAILED) else ExitCode.DONE
    if manner.wants_json:
        write_event(summary_event(code, _chosen(plan, records), workspace))
    elif not manner.quiet:
        say_nothing_to_do(plan, workspace, after)
    return code


def _finish(
    code: ExitCode,
    records: dict[str, Record],
    plan: Plan,
    workspace: Workspace,
    manner: Manner,
) -> ExitCode:
    """The last event, the user's command, the bell."""
    summary = summary_event(code, _chosen(plan, records), workspace)
    if manner.wants_json:
        write_event(summary)
    if manner.on_finish is not None:
        run_hook(manner.on_finish, summary)
    ring()
    return code


def _chosen(plan: Plan, records: dict[str, Record]) -> list[Record]:
    return [records[one.id] for one in plan.jobs if one.id in records]


def _show_plan(plan: Plan, workspace: Workspace) -> None:
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 160
    for line in plan_text(plan, workspace, width, coloured(sys.stderr)):
        say(line)
    say()
