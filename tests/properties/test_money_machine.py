"""Every interleaving of faults, crashes, restarts, edits and clocks: money stays safe throughout.

A state machine over whole batches in process. Every prompt is used once, so a prompt that the
simulator's ledger holds twice was paid for twice. `KLING_BATCH_HYPOTHESIS=ci` walks further.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support import bench as benches
from support.bench import HEAD, Bench
from support.money import FOREIGN, is_foreign, post, resolve

from kling_batch.errors import ExitCode
from kling_batch.manifest.load import load_manifest
from kling_batch.service.transport import HttpRequest, HttpResponse
from kling_batch.simulator.faults import FaultScript
from kling_batch.state.store import Happening

PRICE, BUDGET, JOBS_MAX = 60, 300, 8

_CI = os.environ.get("KLING_BATCH_HYPOTHESIS") == "ci"
PROFILE = settings(
    max_examples=500 if _CI else 60,
    stateful_step_count=50 if _CI else 25,
    deadline=None,
    derandomize=not _CI,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    print_blob=True,
)


class Crash(BaseException):
    """The process is gone: nothing of it runs after this."""


def _respond(status: int, body: str = "", **headers: str) -> dict[str, Any]:
    return {"respond": {"status": status, "body": body, "headers": headers}}


UNCLEAR: list[Any] = ["reset", {"timeout": 1}, _respond(502, "<p>"), "garbage", "success_false"]
ON_SUBMIT = st.one_of(
    st.builds(
        lambda do, act: {"do": do, "act": act},
        st.sampled_from(UNCLEAR),
        st.sampled_from(["before", "after"]),
    ),
    st.sampled_from(
        [
            {"do": "refuse"},
            {"do": "no_ids"},
            {"do": "same_id"},
            {"do": "fail"},
            {"do": _respond(400)},
            {"do": _respond(401)},
            {"do": _respond(402)},
            {"do": _respond(429, **{"retry-after": "90"})},
            {"do": _respond(429)},
        ]
    ),
).map(lambda fault: {"on": "submit", **fault})
ELSEWHERE = st.sampled_from(
    [
        *[{"on": "poll", "do": do} for do in (_respond(500), "reset", "vanish", "garbage")],
        {"on": "poll", "do": {"status_word": "dreaming"}},
        {"on": "poll", "do": "no_urls"},
        *[{"on": "history", "do": do} for do in (_respond(503), "garbage", "reset")],
        *[{"on": "result", "do": do} for do in ("page", "expire", "reset", "ignore_range")],
        {"on": "result", "do": {"short": {"bytes": 500, "length": "none"}}},
    ]
)
CALLS = st.one_of(
    st.integers(1, 3), st.lists(st.integers(1, 6), min_size=1, max_size=6, unique=True)
)
FAULTS = st.lists(
    st.builds(lambda fault, nth: {**fault, "nth": nth}, st.one_of(ON_SUBMIT, ELSEWHERE), CALLS),
    max_size=3,
)
HISTORY = st.fixed_dictionaries(
    {},
    optional={
        "lag": st.sampled_from([3, 45, 400]),
        "keep": st.integers(1, 4),
        "prompts": st.just(False),
        "absent": st.just(True),
    },
)
CRASH = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["POST", "GET"]), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("happening"), st.integers(1, 12), st.just(True)),
)


class MoneyMachine(RuleBasedStateMachine):
    """One folder, one account; its runs follow each other like processes."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")  # where a sync costs nothing
        self.folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.jobs: dict[str, str] = {}
        self.prompts = self.names = 0
        for _ in range(3):
            self._add()
        self.bench = Bench(self.folder, self._text(), balance=100_000)
        self._handle = self.bench.transport
        self.bench.transport = self._transport
        self.posts = 0
        self.answered: set[str] = set()  # on record by what was told of it
        self.told: set[str] = set()  # what the service answered in this run
        self.crash: tuple[str, int, bool] | None = None
        self._load = benches.load_manifest
        benches.load_manifest = _cached_load  # type: ignore[attr-defined]

    def teardown(self) -> None:
        try:
            self._finish()
        finally:
            benches.load_manifest = self._load  # type: ignore[attr-defined]
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- the manifest ------------------------------------------------------------------------------

    def _text(self) -> str:
        pairs = "".join(
            f"  - {{id: {job}, image: knight, video: waltz, prompt: '{prompt}'}}\n"
            for job, prompt in self.jobs.items()
        )
        return f"{HEAD}budget: {{max_credits: {BUDGET}}}\npairs:\n{pairs}"

    def _prompt(self) -> str:
        self.prompts += 1
        return f"a rather long prompt, so that one can be cut; number {self.prompts}"

    def _add(self) -> None:
        self.names += 1
        self.jobs[f"j{self.names}"] = self._prompt()

    @precondition(lambda self: len(self.jobs) < JOBS_MAX)
    @rule()
    def add_a_job(self) -> None:
        self._add()
        self.bench.write(self._text())

    @rule(data=st.data(), edit=st.sampled_from(["prompt", "rename", "remove"]))
    def edit_a_job(self, data: st.DataObject, edit: str) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        if edit == "prompt":
            self.jobs[job] = self._prompt()
        elif edit == "rename":
            record = self.bench.records().get(job)
            if record is not None and record.state.value in ("failed", "rejected"):
                return  # what cost nothing is a new job under a new name
            self.names += 1
            self.jobs[f"j{self.names}"] = self.jobs.pop(job)
        elif len(self.jobs) > 1:
            del self.jobs[job]
        self.bench.write(self._text())

    # -- the service, the others, the time ---------------------------------------------------------

    @rule(faults=FAULTS, history=HISTORY)
    def script(self, faults: list[dict[str, Any]], history: dict[str, Any]) -> None:
        self.bench.simulator.script(FaultScript.read({"rules": faults, "history": history}))

    @rule(count=st.integers(1, 4))
    def another_program_submits(self, count: int) -> None:
        self.bench.simulator.script(FaultScript())
        for number in range(count):
            post_or_not(self.bench, f"{FOREIGN} {number}")

    @rule(seconds=st.sampled_from([3600.0, -3600.0, 90.0, -20.0]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.bench.clock.jump(seconds)

    @rule(seconds=st.sampled_from([1.0, 60.0, 900.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.clock.sleep(seconds)

    # -- runs --------------------------------------------------------------------------------------

    @rule(
        timeout=st.sampled_from([None, None, 1.0, 100.0, 700.0]),
        crash=CRASH,
        wait=st.sampled_from([True, True, True, False]),
        canary=st.sampled_from([None, None, 1]),
    )
    def run(
        self,
        timeout: float | None,
        crash: tuple[str, int, bool] | None,
        wait: bool,
        canary: int | None,
    ) -> None:
        self.crash, self.told = crash, set()
        try:
            self.bench.run(timeout=timeout, wait=wait, canary=canary, on_event=self._saw)
            self.answered |= self.told
        except Crash:
            pass
        finally:
            self.crash = None

    @rule()
    def the_user_resolves(self) -> None:
        """Truthfully: by what the service's own books say."""
        made = {
            charge.request.fingerprint(): charge.job_id
            for charge in self.bench.simulator.ledger
            if charge.job_id not in {record.job_id for record in self.bench.records().values()}
        }
        for record in self.bench.records().values():
            if record.state.value == "unknown":
                resolve(self.bench, record.id, job_id=made.get(record.fingerprint, ""))

    def _saw(self, happening: Happening, _: object) -> None:
        if happening.name in ("submitted", "extra", "adopted"):
            self.answered.add((happening.detail or {})["job_id"])
        self._count("happening", after=True)

    def _transport(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            self.posts += 1
            self._assert_intended(json.loads(request.body)["prompt"])
        self._count(request.method, after=False)
        answer = self._handle(request)
        self._count(request.method, after=True)
        if request.method == "POST" and answer.status == 200 and b'"job_ids": ["' in answer.body:
            self.told |= set(answer.json()["job_ids"])
        return answer

    def _count(self, what: str, *, after: bool) -> None:
        if self.crash is None or (self.crash[0], self.crash[2]) != (what, after):
            return
        self.crash = (what, self.crash[1] - 1, after)
        if self.crash[1] == 0:
            raise Crash

    # -- what must hold ----------------------------------------------------------------------------

    def _assert_intended(self, prompt: str) -> None:
        """At the moment of a POST its intent, and no other open one of that job, is on disk."""
        sent = [
            attempt
            for attempt in self.bench._attempts()
            if attempt.verdict is None and attempt.resolution is None
        ]
        record = self.bench.records()[sent[-1].job]
        assert record.request.prompt == prompt
        assert record.state.value == "unknown"
        assert [one.job for one in sent].count(record.id) == 1

    @invariant()
    def nothing_is_paid_for_twice(self) -> None:
        bought = Counter(c.prompt for c in self.bench.simulator.ledger if not is_foreign(c))
        assert set(bought.values()) <= {1}, bought

    @invariant()
    def the_budget_is_not_passed(self) -> None:
        spent = sum(
            charge.credits
            for charge in self.bench.simulator.ledger
            if not is_foreign(charge) and not charge.refunded
        )
        assert spent <= BUDGET

    @invariant()
    def no_intent_is_sent_twice_and_no_answer_is_lost(self) -> None:
        if self.bench.state_file.exists():
            attempts = self.bench._attempts()
            assert self.posts <= len(attempts)
            known = {record.job_id for record in self.bench.records().values()}
            for attempt in attempts:  # of jobs that failed and were bought anew
                known.update(attempt.job_ids)
                known.add((attempt.resolution or "").removeprefix("adopted "))
            assert self.answered <= known

    def _finish(self) -> None:
        """With a service that is well, the same command brings the batch to its end."""
        self.bench.simulator.script(FaultScript.read({"history": {"lag": 0}}))
        result = None
        for _ in range(4):
            self.bench.clock.sleep(2 * 3600.0)
            result = self.bench.run()
            # What was not made and is now asked for otherwise is for one more plan.
            if not result.undecided and result.exit_code is not ExitCode.STOPPED:
                break
            self.the_user_resolves()
        self.nothing_is_paid_for_twice()
        self.the_budget_is_not_passed()
        assert result is not None
        assert result.exit_code in (ExitCode.DONE, ExitCode.JOBS_FAILED, ExitCode.BUDGET), result
        ended = {"downloaded", "failed", "rejected"}
        if result.exit_code is ExitCode.BUDGET:
            ended |= {"planned"}
        records = self.bench.records()
        for job in self.jobs:
            assert records[job].state.value in ended, records[job]
            if records[job].state.value == "downloaded":
                assert (self.folder / records[job].output).is_file()


def post_or_not(bench: Bench, prompt: str) -> None:
    """Another program submits, unless the hour is full."""
    try:
        post(bench, prompt)
    except KeyError:
        return


@functools.lru_cache(maxsize=256)
def _load_text(text: str, path: Path) -> Any:
    return load_manifest(path)


def _cached_load(path: Path) -> Any:
    return _load_text(path.read_text(), path)


MoneyMachine.TestCase.settings = PROFILE
TestMoneyMachine = MoneyMachine.TestCase
