"""Builds the parts that a command works with, and passes them down: nothing here is global."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kling_batch.cli.sources import read_source
from kling_batch.cli.surroundings import Address, accounts_folder, find_address, find_key
from kling_batch.clock import Clock, FastClock, SystemClock
from kling_batch.errors import KeyRefused, UsageError
from kling_batch.model import Manifest
from kling_batch.planning.plan import Plan, Wishes, dropped_unbought, plan_jobs, unmatched
from kling_batch.planning.timetable import TYPICAL_SECONDS, make_timetable
from kling_batch.service.ledger import Balance, Ledger, account_file
from kling_batch.state.opening import Identity, reading, state_path
from kling_batch.state.records import JobState, Record
from kling_batch.state.store import Store
from kling_batch.structs import dataclass, field, replace

if TYPE_CHECKING:
    from kling_batch.simulator.jobs import Charge
    from kling_batch.simulator.server import RunningServer

SIMULATED_SPEED = 30.0
SIMULATED_BALANCE = 1_000_000
SIMULATED_KEY = "ulazai_simulated"
MEASURED_JOBS = 3


@dataclass(frozen=True, slots=True)
class Workspace:
    """A manifest with its surroundings."""

    manifest: Manifest
    address: Address
    clock: Clock
    simulated: bool

    @property
    def state_file(self) -> Path:
        """Where this manifest's state lies."""
        return state_path(self.manifest.directory, self.manifest.name, simulated=self.simulated)

    @property
    def identity(self) -> Identity:
        """Whose state it must be."""
        return Identity(self.manifest.name, self.manifest.source.name)

    @property
    def folder(self) -> str:
        """Where results go, below the manifest's folder; simulated ones stay apart."""
        below = self.manifest.output_directory.relative_to(self.manifest.directory).as_posix()
        return f"{below}/simulated" if self.simulated else below

    @property
    def output_directory(self) -> Path:
        """The same, as a path."""
        return self.manifest.directory / self.folder


def open_workspace(name: str, base_url: str | None) -> Workspace:
    """The manifest against the service."""
    address = find_address(base_url)
    manifest = read_source(name, private_urls=address.on_loopback)
    return Workspace(manifest, address, SystemClock(), simulated=False)


@contextmanager
def simulated_workspace(name: str) -> Iterator[tuple[Workspace, RunningServer]]:
    """The manifest against a simulator that is begun for it, in time sped up."""
    from kling_batch.simulator.app import Simulator
    from kling_batch.simulator.server import serve

    manifest = read_source(name, private_urls=True)
    clock = FastClock(SIMULATED_SPEED)
    simulator = Simulator(clock, balance=SIMULATED_BALANCE, submissions_per_hour=None)
    with serve(simulator) as server:
        workspace = Workspace(manifest, Address(server.url), clock, simulated=True)
        simulator.remember(_charges(workspace))
        yield workspace, server


def _charges(workspace: Workspace) -> list[Charge]:
    """What earlier simulators of this state had charged: theirs ended with their processes."""
    from kling_batch.simulator.jobs import Charge

    return [
        Charge(
            job_id=record.job_id,
            at=record.submitted_at or 0.0,
            credits=record.credits_planned,
            request=record.request,
            contract=workspace.manifest.service.contract,
            submission=number,
            refunded=False,
        )
        for number, record in enumerate(look_at_records(workspace).values())
        if record.job_id
    ]


def planning_workspace(name: str, base_url: str | None, simulate: bool) -> Workspace:
    """The manifest for a look at its plan: nothing is started and nothing is asked of anyone."""
    if not simulate:
        return open_workspace(name, base_url)
    manifest = read_source(name, private_urls=True)
    return Workspace(manifest, Address("http://127.0.0.1"), SystemClock(), simulated=True)


def open_ledger(workspace: Workspace, key: str) -> Ledger:
    """The account's ledger; a simulated account's lies beside its state."""
    if workspace.simulated:
        path = workspace.state_file.with_suffix(".ledger")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return Ledger(path, workspace.clock)
    return Ledger(account_file(accounts_folder(), workspace.address.url, key), workspace.clock)


@dataclass(frozen=True, slots=True)
class Account:
    """What the ledger says that a plan needs."""

    ages: Sequence[float] = ()
    blocked_for: float = 0.0
    balance: Balance | None = None


def look_at_account(workspace: Workspace) -> Account:
    """The account as far as it is known here; without a key nothing is."""
    if workspace.simulated:
        return Account()
    try:
        key = find_key(workspace.manifest.directory)
    except KeyRefused:
        return Account()
    ledger = open_ledger(workspace, key)
    try:
        return account_of(ledger)
    finally:
        ledger.close()


def account_of(ledger: Ledger) -> Account:
    """What this ledger says."""
    return Account(ledger.ages(), ledger.blocked_for(), ledger.balance())


@dataclass(frozen=True, slots=True)
class State:
    """What the state file says that a plan needs; as it stands, where there is none yet.

    `service` is the address that it was last run against.
    """

    records: dict[str, Record] = field(default_factory=dict)
    serial: int = 0
    service: str | None = None


def state_of(store: Store) -> State:
    """What this state says. The serial comes first: what is newer than it is found out later."""
    serial = store.serial()
    return State(store.records(), serial, store.meta("service"))


def look_at_state(workspace: Workspace) -> State:
    """The state, without disturbing a run."""
    with reading(workspace.state_file) as store:
        return state_of(store) if store else State()


def look_at_records(workspace: Workspace) -> dict[str, Record]:
    """The state's records, empty where there is no state yet."""
    return look_at_state(workspace).records


def make_plan(
    workspace: Workspace,
    state: State,
    wishes: Wishes,
    account: Account,
    max_credits: int | None = None,
) -> Plan:
    """The plan as the manifest, the state and the account stand."""
    from kling_batch.cli.plan_warnings import plan_warnings

    manifest, records = workspace.manifest, state.records
    everything = plan_jobs(
        manifest, records, wishes, workspace.folder, _absent(manifest.directory, records)
    )
    for glob in unmatched(wishes.only, everything):
        raise UsageError(f"--only {glob} matches no job", "see the ids with: kling-batch plan")
    plan = Plan(manifest.name, everything, _NO_TIMETABLE)
    submissions = sum(one.action.value == "submit" for one in everything)
    followed = sum(one.follows for one in everything)
    timetable = make_timetable(
        submissions=submissions,
        in_flight=followed,
        now=workspace.clock.now(),
        per_hour=10**6 if workspace.simulated else manifest.service.submissions_per_hour,
        max_in_flight=manifest.service.max_in_flight,
        ages=account.ages,
        blocked_for=account.blocked_for,
        typical_seconds=typical_seconds(records.values()),
    )
    plan = replace(plan, timetable=timetable)
    return replace(
        plan,
        warnings=plan_warnings(workspace, plan, state, account, max_credits),
        dropped=dropped_unbought(manifest, records, wishes),
    )


_NO_TIMETABLE = make_timetable(submissions=0, in_flight=0, now=0.0, per_hour=1, max_in_flight=1)


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
    folders: dict[str, frozenset[str]] = {}
    absent = set()
    for record in records.values():
        if record.state is JobState.DOWNLOADED:
            below, _, name = record.output.rpartition("/")
            if below not in folders:
                folders[below] = _names_in(directory / below)
            if name not in folders[below] and not (directory / record.output).exists():
                absent.add(record.id)
    return absent


def _names_in(folder: Path) -> frozenset[str]:
    """The files of a folder, asked for once: a look for each of 100,000 takes a second.

    What is not among them is looked for by itself: a link, or a name in another case or form.
    """
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not entry.is_symlink())
    except OSError:
        return frozenset()
