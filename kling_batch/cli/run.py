"""`run`: the plan, the question, then submit, follow and download; the same command resumes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from kling_batch.cli.console import coloured, count, dollars, say
from kling_batch.cli.finish import ring, run_hook
from kling_batch.cli.git import revision_of
from kling_batch.cli.plan_view import iso, plan_text
from kling_batch.cli.progress import JsonEvents, Lines, Progress, totals_text, write_event
from kling_batch.cli.saved_plan import Approved, find_saved
from kling_batch.cli.status_view import charged_text, totals_json
from kling_batch.cli.surroundings import (
    find_key,
    find_proxies,
    interactive,
    this_command,
)
from kling_batch.cli.workspace import (
    SIMULATED_KEY,
    Workspace,
    account_of,
    make_plan,
    open_ledger,
    open_workspace,
    planning_workspace,
    simulated_workspace,
    state_of,
    typical_seconds,
)
from kling_batch.errors import Declined, ExitCode, UsageError
from kling_batch.execution.budget import limits_of
from kling_batch.execution.download import Target
from kling_batch.execution.receipt import Provenance
from kling_batch.execution.runner import CanaryReport, Result, Runner, RunSettings
from kling_batch.execution.workers import Workers
from kling_batch.manifest.problems import clean
from kling_batch.planning.plan import Action, Plan, Wishes
from kling_batch.service.ledger import Ledger
from kling_batch.state.opening import writing
from kling_batch.state.records import JobState, Record
from kling_batch.state.store import Happening, Store
from kling_batch.structs import dataclass, replace

WORKERS = 16


@dataclass(frozen=True, slots=True)
class Manner:
    """How a run asks, talks and paces itself: the flags that `run` and `retry` share."""

    yes: bool
    wants_json: bool
    quiet: bool
    verbose: bool
    max_credits: int | None
    canary: int | None
    no_wait: bool
    poll_interval: float | None
    reconcile_wait: float
    timeout: float | None
    on_finish: str | None


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
                say(f"Not begun: {this_command('run', *left)}")
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
    again = [manifest, "--simulate"] if workspace.simulated else [manifest]
    with writing(workspace.state_file, workspace.identity, workspace.clock.now()) as store:
        ledger = open_ledger(workspace, key)
        try:
            store.note(ledger=str(ledger.path))  # where `status` finds the balance, without a key
            state = state_of(store)
            records = state.records
            plan = make_plan(workspace, state, wishes, account_of(ledger), manner.max_credits)
            if approved is not None:
                approved.hold_to(plan, workspace, state, store)
            if not manner.quiet:
                _show_plan(plan, workspace)
            if not plan.anything_to_do:
                if plan.dropped:
                    store.drop(plan.dropped, Happening(workspace.clock.now(), "dropped"))
                return _nothing_to_do(plan, records, workspace, manner)
            if plan.credits and not manner.yes:
                _ask(plan, workspace)
            if not workspace.simulated:
                store.note(service=workspace.address.url)
            runner, progress = _build(workspace, store, ledger, records, plan, key, manner)
            with _interruptible(runner):
                result = _run(runner, progress)
            return _conclude(result, records, plan, workspace, manner, again)
        finally:
            ledger.close()


def _show_plan(plan: Plan, workspace: Workspace) -> None:
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 160
    for line in plan_text(plan, workspace, width, coloured(sys.stderr)):
        say(line)
    say()


def _ask(plan: Plan, workspace: Workspace) -> None:
    """Only `yes` is yes. Raises Declined, or UsageError where nobody can be asked."""
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


def _nothing_to_do(
    plan: Plan, records: dict[str, Record], workspace: Workspace, manner: Manner
) -> ExitCode:
    failed = bool(plan.having(Action.FAILED))
    code = ExitCode.JOBS_FAILED if failed else ExitCode.DONE
    if manner.wants_json:
        write_event(_summary(code, records, plan, workspace))
    elif failed:
        say("Nothing to buy; what failed is kept as it is.")
        say(f"To try it again: {this_command('retry', str(workspace.manifest.source))}")
    elif not manner.quiet:
        say("All is done; nothing was bought.")
        say(f"The videos are in {workspace.output_directory}/")
    return code


def _build(
    workspace: Workspace,
    store: Store,
    ledger: Ledger,
    records: dict[str, Record],
    plan: Plan,
    key: str,
    manner: Manner,
) -> tuple[Runner, Progress]:
    """The parts of a run, put together."""
    from kling_batch.service.client import Service
    from kling_batch.service.contracts import CONTRACTS
    from kling_batch.service.http import HttpTransport, MediaFetcher

    manifest, clock, address = workspace.manifest, workspace.clock, workspace.address
    proxies = {} if address.on_loopback else find_proxies()
    revision, dirty = revision_of(manifest.source)
    provenance = Provenance(
        manifest=manifest.source.name,
        service=address.url,
        contract=manifest.service.contract,
        revision=revision,
        dirty=dirty,
        simulated=workspace.simulated,
    )
    progress: Progress = JsonEvents()
    if not manner.wants_json:
        total = sum(one.follows or one.action is Action.SUBMIT for one in plan.jobs)
        progress = Lines(
            total,
            plan.credits,
            clock,
            lambda: None if workspace.simulated else runner.expected_end(),
            quiet=manner.quiet,
            verbose=manner.verbose,
        )
    runner = Runner(
        plan,
        store,
        records,
        service=Service(
            CONTRACTS[manifest.service.contract],
            HttpTransport(address.url, key, proxies),
            clock.now,
        ),
        ledger=ledger,
        clock=clock,
        workers=Workers(WORKERS),
        fetcher=MediaFetcher(loopback=address.on_loopback, proxies=proxies),
        target=Target(manifest.directory, provenance, manifest.pricing.credits_per_second),
        settings=RunSettings(
            limits=limits_of(manifest.budget, manner.max_credits),
            per_hour=10**6 if workspace.simulated else manifest.service.submissions_per_hour,
            max_in_flight=manifest.service.max_in_flight,
            poll_interval=manner.poll_interval,
            reconcile_wait=manner.reconcile_wait,
            timeout=manner.timeout,
            canary=manner.canary,
            wait=not manner.no_wait,
            typical_seconds=typical_seconds(records.values()),
        ),
        observer=progress.saw,
        confirm=lambda report: _confirm_canary(report, progress, manner),
    )
    return runner, progress


def _confirm_canary(report: CanaryReport, progress: Progress, manner: Manner) -> bool:
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
        return manner.yes and as_planned
    return _yes(f"Go on with {count(report.left, 'job')} for {report.credits_left:,} credits?")


@contextmanager
def _interruptible(runner: Runner) -> Iterator[None]:
    """The first signal ends the run in order, the second at once; either way all is on record."""
    seen = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            _tell_at_once("stopped at once; what was sent is on record")
            os._exit(int(ExitCode.INTERRUPTED))
        _tell_at_once("finishing what is being sent… (once more: stop at once)")
        runner.interrupt()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_at_once(text: str) -> None:
    # Straight to the descriptor: the handler may have cut into a write to stderr.
    with suppress(OSError):  # the terminal may be what was closed
        os.write(2, f"\n{text}\n".encode())


def _run(runner: Runner, progress: Progress) -> Result:
    try:
        return runner.run()
    finally:
        progress.close()


def _conclude(
    result: Result,
    records: dict[str, Record],
    plan: Plan,
    workspace: Workspace,
    manner: Manner,
    again: Sequence[str],
) -> ExitCode:
    """Say how it ended, and the command that goes on."""
    if not manner.quiet:
        chosen = [records[one.id] for one in plan.jobs if one.id in records]
        states = [record.state for record in chosen]
        failed = sum(s in (JobState.FAILED, JobState.REJECTED) for s in states)
        say(totals_text(states.count(JobState.DOWNLOADED), failed, charged_text(chosen)))
        if JobState.DOWNLOADED in states:
            say(f"The videos are in {workspace.output_directory}/")
    if result.stop is not None:
        say(f"stopped: {clean(result.stop.message)}")
        if result.stop.hint:
            say(f"  {result.stop.hint}")
    _say_undecided(result, records, again)
    if result.exit_code is ExitCode.JOBS_FAILED:
        say(f"To try what failed again: {this_command('retry', *again)}")
    elif result.unfinished:
        left = count(result.unfinished, "job")
        say(f"To go on with the {left} left: {this_command('run', *again)}")
    summary = _summary(result.exit_code, records, plan, workspace)
    if manner.wants_json:
        write_event(summary)
    if manner.on_finish is not None:
        run_hook(manner.on_finish, summary)
    ring()
    return result.exit_code


def _say_undecided(result: Result, records: dict[str, Record], again: Sequence[str]) -> None:
    for job, evidence in result.undecided.items():
        record = records[job]
        sent = iso(record.submitted_at)
        say(f"{job}: sent at {sent}; no answer came, and nothing was resent.")
        found = f" ({', '.join(evidence.job_ids)})" if evidence.job_ids else ""
        say(f"  what is known: {clean(evidence.reason)}{found}")
        for answer, meaning in (
            ("--job-id J", "it is job J of the service's history"),
            ("--not-charged", "it was not made: plan it again"),
            ("--forget", "give it up as spent: plan it again"),
        ):
            words = this_command("resolve", again[0], job, *again[1:])
            say(f"  {words} {answer:<14} # {meaning}")


def _summary(
    code: ExitCode, records: dict[str, Record], plan: Plan, workspace: Workspace
) -> dict[str, object]:
    """The last event of `run --json`, and what `--on-finish` is given."""
    chosen = [records[one.id] for one in plan.jobs if one.id in records]
    return {
        "event": "summary",
        "at": iso(workspace.clock.now()),
        "exit_code": int(code),
        "totals": totals_json(chosen),
    }
