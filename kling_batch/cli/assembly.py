"""Puts a run together: transport, ledger, runner, and who is shown what happens."""

from __future__ import annotations

from kling_batch.cli.git import revision_of
from kling_batch.cli.planner import typical_seconds
from kling_batch.cli.progress import JsonEvents, Lines, Progress
from kling_batch.cli.question import confirm_canary
from kling_batch.cli.report import live_page
from kling_batch.cli.surroundings import find_proxies
from kling_batch.cli.workspace import Workspace
from kling_batch.execution.budget import limits_of
from kling_batch.execution.download import Target
from kling_batch.execution.receipt import Provenance
from kling_batch.execution.runner import Runner, RunSettings
from kling_batch.execution.workers import Workers
from kling_batch.planning.plan import Action, Plan
from kling_batch.report.live import LivePage
from kling_batch.service.client import Service
from kling_batch.service.contracts import CONTRACTS
from kling_batch.service.http import HttpTransport, MediaFetcher
from kling_batch.service.ledger import Ledger
from kling_batch.state.records import Record
from kling_batch.state.store import Happening, Store
from kling_batch.structs import dataclass

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


def build(
    workspace: Workspace,
    store: Store,
    ledger: Ledger,
    records: dict[str, Record],
    plan: Plan,
    key: str,
    manner: Manner,
) -> tuple[Runner, Progress, LivePage]:
    """The parts of a run, put together: what works, what shows it, and the page that keeps up."""
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
    page = live_page(workspace, records)

    def saw(happening: Happening) -> None:
        progress.saw(happening)
        page.touch()

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
        observer=saw,
        confirm=lambda report: confirm_canary(report, progress, manner.yes),
    )
    return runner, progress, page
