"""Builds the parts that a command works with, and passes them down: nothing here is global."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kling_batch.cli.sources import from_stdin, read_source
from kling_batch.cli.surroundings import Address, accounts_folder, find_address, find_key
from kling_batch.clock import Clock, FastClock, SystemClock
from kling_batch.errors import KeyRefused
from kling_batch.model import Manifest
from kling_batch.service.ledger import Balance, Ledger, account_file
from kling_batch.state.opening import Identity, check_owner, reading, state_path
from kling_batch.state.records import Record
from kling_batch.state.store import Store
from kling_batch.structs import dataclass, field

if TYPE_CHECKING:
    from kling_batch.simulator.jobs import Charge
    from kling_batch.simulator.server import RunningServer

SIMULATED_SPEED = 30.0
SIMULATED_BALANCE = 1_000_000
SIMULATED_KEY = "ulazai_simulated"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A manifest with its surroundings."""

    manifest: Manifest
    address: Address
    clock: Clock
    simulated: bool

    @property
    def words(self) -> list[str]:
        """The flags that lead a further command to the same place."""
        if self.simulated:
            return ["--simulate"]
        return ["--base-url", self.address.url] if self.address.by_flag else []

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
    """The state as far as a plan needs it, without disturbing a run."""
    with reading(workspace.state_file) as store:
        if store is None:
            return State()
        if not from_stdin(workspace.manifest.source):  # which may be any file's text
            check_owner(store, workspace.identity)
        serial = store.serial()
        known = {job.request.fingerprint(): job.request for job in workspace.manifest.jobs}
        return State(store.outlines(known), serial, store.meta("service"))


def look_at_records(workspace: Workspace) -> dict[str, Record]:
    """The state's records, empty where there is no state yet."""
    with reading(workspace.state_file) as store:
        return store.records() if store else {}
