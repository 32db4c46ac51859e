"""A whole batch in process: manifest, simulator, state and runner, on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kling_batch.execution.budget import limits_of
from kling_batch.execution.download import Target
from kling_batch.execution.receipt import Provenance
from kling_batch.execution.runner import CanaryReport, Result, Runner, RunSettings
from kling_batch.execution.workers import Workers
from kling_batch.manifest.load import load_manifest
from kling_batch.planning.plan import Plan, PlannedJob, Wishes, dropped_unbought, plan_jobs
from kling_batch.planning.timetable import make_timetable
from kling_batch.service.client import Service
from kling_batch.service.contracts import CONTRACTS
from kling_batch.service.http import Fetched
from kling_batch.service.ledger import Ledger
from kling_batch.service.transport import HttpRequest, HttpResponse, Transport
from kling_batch.simulator.app import Simulator, as_transport
from kling_batch.simulator.faults import FaultScript
from kling_batch.state.opening import Identity, reading, state_path, writing
from kling_batch.state.records import Record
from kling_batch.state.store import Happening
from support.clock import FakeClock

HEAD = """\
version: 1
name: batch
defaults: {quality_mode: 720p, duration_seconds: 5, prompt: "{{ image.name }}, {{ video.name }}"}
images: {knight: "https://cdn.example.com/knight.png"}
videos: {waltz: "https://cdn.example.com/waltz.mp4"}
"""


def jobs(count: int, extra: str = "") -> str:
    """A manifest of that many jobs, `j1` to `jN`, of 60 credits each."""
    pairs = "".join(
        f"  - {{id: j{i}, image: knight, video: waltz, prompt: 'number {i}'}}\n"
        for i in range(1, count + 1)
    )
    return f"{HEAD}{extra}pairs:\n{pairs}"


class SimulatedHost:
    """A fetcher whose host is the simulator; the transport's faults reach it too."""

    def __init__(self, simulator: Simulator) -> None:
        self._transport = as_transport(simulator)
        self.fetched: list[str] = []

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Fetched]:
        self.fetched.append(url)
        try:
            answer = self._transport(HttpRequest("GET", urlsplit(url).path, dict(headers)))
        except Exception as error:
            raise ConnectionError(str(error)) from error
        yield Fetched(answer.status, answer.headers, iter([answer.body]))


class Bench:
    """One folder with one manifest and one simulator. Runs follow each other like processes."""

    def __init__(
        self,
        folder: Path,
        text: str,
        *,
        faults: list[dict[str, Any]] | Mapping[str, Any] | None = None,
        **simulator: Any,
    ) -> None:
        self.folder = folder
        self.clock = FakeClock()
        script = FaultScript.read(faults) if faults is not None else None
        self.simulator = Simulator(self.clock, faults=script, **simulator)
        self.transport: Transport = self._keyed
        self.host = SimulatedHost(self.simulator)
        self.happenings: list[Happening] = []
        self.ledger_file = folder / "account.db"
        self.write(text)

    def _keyed(self, request: HttpRequest) -> HttpResponse:
        return self.simulator.handle(
            replace(request, headers={**request.headers, "authorization": "Bearer key"})
        )

    def write(self, text: str) -> None:
        """Edit the manifest."""
        (self.folder / "batch.yaml").write_text(text)

    @property
    def state_file(self) -> Path:
        return state_path(self.folder, "batch")

    def records(self) -> dict[str, Record]:
        """What is on record now."""
        with reading(self.state_file) as store:
            return store.records() if store else {}

    def states(self) -> dict[str, str]:
        """The state of every job, by id."""
        return {record.id: record.state.value for record in self.records().values()}

    def plan(self, records: Mapping[str, Record], wishes: Wishes = Wishes()) -> Plan:  # noqa: B008
        """What a run would do."""
        manifest = load_manifest(self.folder / "batch.yaml")
        absent = {
            r.id for r in records.values() if r.sha256 and not (self.folder / r.output).exists()
        }
        planned = plan_jobs(manifest, records, wishes, "outputs/batch", absent)
        nothing = make_timetable(submissions=0, in_flight=0, now=0.0, per_hour=24, max_in_flight=16)
        dropped = dropped_unbought(manifest, records, wishes)
        return Plan(manifest.name, planned, nothing, dropped=dropped)

    def actions(self, wishes: Wishes = Wishes()) -> dict[str, str]:  # noqa: B008
        """The action for every job, by id."""
        return {one.id: one.action.value for one in self.plan(self.records(), wishes).jobs}

    def planned(self, job: str, wishes: Wishes = Wishes()) -> PlannedJob:  # noqa: B008
        """One job of the plan."""
        return next(one for one in self.plan(self.records(), wishes).jobs if one.id == job)

    def run(
        self,
        wishes: Wishes = Wishes(),  # noqa: B008
        *,
        max_credits: int | None = None,
        confirm: Callable[[CanaryReport], bool] = lambda _: True,
        on_event: Any = None,
        **settings: Any,
    ) -> Result:
        """One run of the program, from opening the state to closing it."""
        manifest = load_manifest(self.folder / "batch.yaml")
        self.reports: list[CanaryReport] = []

        def ask(report: CanaryReport) -> bool:
            self.reports.append(report)
            return confirm(report)

        def saw(happening: Happening) -> None:
            self.happenings.append(happening)
            if on_event is not None:
                on_event(happening, runner)

        ledger = Ledger(self.ledger_file, self.clock)
        try:
            with writing(
                self.state_file, Identity("batch", "batch.yaml"), self.clock.now()
            ) as store:
                records = store.records()
                runner = Runner(
                    self.plan(records, wishes),
                    store,
                    records,
                    service=Service(
                        CONTRACTS[manifest.service.contract], self.transport, self.clock.now
                    ),
                    ledger=ledger,
                    clock=self.clock,
                    workers=Workers(0),
                    fetcher=self.host,
                    target=Target(
                        self.folder,
                        Provenance("batch.yaml", "https://service", "canonical"),
                        manifest.pricing.credits_per_second,
                    ),
                    settings=replace(
                        RunSettings(
                            limits=limits_of(manifest.budget, max_credits),
                            per_hour=manifest.service.submissions_per_hour,
                            max_in_flight=manifest.service.max_in_flight,
                        ),
                        **settings,
                    ),
                    observer=saw,
                    confirm=ask,
                )
                return runner.run()
        finally:
            ledger.close()

    def told(self, name: str) -> list[Happening]:
        """Everything of this name that happened."""
        return [one for one in self.happenings if one.name == name]

    def assert_money_is_safe(self) -> None:
        """What must hold after any fault: one POST an intent, every paid job on record."""
        submissions = {charge.submission for charge in self.simulator.ledger}
        known = {record.job_id for record in self.records().values()}
        attempts = self._attempts()
        assert len(submissions) <= len(attempts)
        answered = {job_id for attempt in attempts for job_id in attempt.job_ids}
        assert answered <= known

    def _attempts(self) -> list[Any]:
        import sqlite3

        from kling_batch.state import store as module

        db = sqlite3.connect(self.state_file)
        try:
            return [module._attempt(row) for row in db.execute("SELECT * FROM attempts")]
        finally:
            db.close()
