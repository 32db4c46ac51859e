"""The main job in process: every job is submitted once, followed and put in its place."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import pytest
from support.bench import Bench, jobs

from kling_batch.errors import ExitCode
from kling_batch.execution.batch import Batch
from kling_batch.execution.runner import CanaryReport
from kling_batch.planning.plan import Wishes
from kling_batch.service.transport import HttpRequest, HttpResponse
from kling_batch.state.records import JobState


def test_a_batch_is_submitted_followed_and_downloaded(folder: Path) -> None:
    bench = Bench(folder, jobs(3))
    result = bench.run()
    assert result.exit_code is ExitCode.DONE
    assert set(bench.states().values()) == {"downloaded"}
    assert len(bench.simulator.ledger) == 3
    assert (folder / "outputs/batch/j1.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_second_run_buys_nothing(folder: Path) -> None:
    bench = Bench(folder, jobs(3))
    bench.run()
    assert set(bench.actions().values()) == {"done"}
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.simulator.ledger) == 3


def test_the_receipt_says_what_was_paid_and_got(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.run()
    receipt = json.loads((folder / "outputs/batch/j1.json").read_text())
    record = bench.records()["j1"]
    assert receipt["job_id"] == record.job_id
    assert receipt["sha256"] == record.sha256
    assert (receipt["credits_planned"], receipt["credits_charged"]) == (60, 60)


@pytest.mark.parametrize("contract", ["canonical", "legacy"])
def test_both_contracts_bring_the_video_and_the_charge(folder: Path, contract: str) -> None:
    bench = Bench(folder, jobs(2, f"service: {{contract: {contract}}}\n"))
    assert bench.run().exit_code is ExitCode.DONE
    assert [r.credits_charged for r in bench.records().values()] == [60, 60]
    assert {charge.contract for charge in bench.simulator.ledger} == {contract}


def test_no_more_jobs_are_in_flight_than_the_manifest_allows(folder: Path) -> None:
    bench = Bench(folder, jobs(9, "service: {max_in_flight: 2}\n"))
    handle, made, most = bench.transport, 0, 0

    def watch(request: HttpRequest) -> HttpResponse:
        nonlocal made, most
        answer = handle(request)
        made += request.method == "GET" and b'"completed"' in answer.body
        most = max(most, len(bench.simulator.ledger) - made)
        return answer

    bench.transport = watch
    assert bench.run().exit_code is ExitCode.DONE
    assert made == 9
    assert most == 2


def test_the_hourly_limit_is_waited_for(folder: Path) -> None:
    bench = Bench(folder, jobs(30))
    start = bench.clock.now()
    assert bench.run().exit_code is ExitCode.DONE
    times = sorted(charge.at - start for charge in bench.simulator.ledger)
    assert times[23] < 3600 <= times[24]
    assert bench.told("rate_limited") == []


def test_a_failed_job_keeps_its_reason_and_refund_and_is_not_bought_again(folder: Path) -> None:
    bench = Bench(folder, jobs(2).replace("number 2", "number 2 [fail]"))
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    failed = bench.records()["j2"]
    assert failed.error
    assert (failed.credits_refunded, failed.committed) == (60, 0)
    assert bench.actions() == {"j1": "done", "j2": "failed"}
    bench.run()
    assert len(bench.simulator.ledger) == 2


def test_a_failed_job_is_bought_again_when_asked(folder: Path) -> None:
    bench = Bench(folder, jobs(1), faults=[{"on": "generate", "nth": 1, "do": "fail"}])
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.run(Wishes(retry_failed=True)).exit_code is ExitCode.DONE
    record = bench.records()["j1"]
    assert (record.attempts, record.error) == (2, None)


def test_no_wait_submits_and_leaves_the_videos_for_a_later_run(folder: Path) -> None:
    bench = Bench(folder, jobs(2))
    assert bench.run(wait=False).exit_code is ExitCode.DONE
    assert set(bench.states().values()) == {"submitted"}
    bench.clock.sleep(300)
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.simulator.ledger) == 2


def test_a_video_that_was_deleted_is_fetched_again_at_no_cost(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.run()
    (folder / "outputs/batch/j1.mp4").unlink()
    assert bench.actions() == {"j1": "download"}
    assert bench.run().exit_code is ExitCode.DONE
    assert (folder / "outputs/batch/j1.mp4").exists()
    assert len(bench.simulator.ledger) == 1


def test_a_redone_job_keeps_the_video_that_was_paid_for_before(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.run()
    first = (folder / "outputs/batch/j1.mp4").read_bytes()
    bench.write(jobs(1).replace("number 1", "another"))
    assert bench.actions() == {"j1": "changed"}
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.simulator.ledger) == 1
    assert bench.run(Wishes(redo_changed=True)).exit_code is ExitCode.DONE
    videos = [path.read_bytes() for path in (folder / "outputs/batch").glob("*.mp4")]
    assert len(videos) == 2
    assert first in videos
    assert bench.records()["j1"].committed == 120


def test_a_budget_that_is_reached_at_once_ends_the_run_at_once(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    start = bench.clock.steady()
    assert bench.run(max_credits=59).exit_code is ExitCode.BUDGET
    assert bench.clock.steady() - start < 1
    assert bench.simulator.ledger == ()


@pytest.mark.parametrize("interval", [20.0, 0.4], ids=["with nothing else near", "with polls near"])
def test_that_a_job_is_being_made_is_on_record_soon(folder: Path, interval: float) -> None:
    bench = Bench(folder, jobs(1))
    told_at, late, handle = [], [], bench.transport

    def look(request: HttpRequest) -> HttpResponse:
        if told_at and bench.states()["j1"] == "submitted":
            late.append(bench.clock.steady() - told_at[0])
        answer = handle(request)
        if b'"processing"' in answer.body:
            told_at.append(bench.clock.steady())
        return answer

    bench.transport = look
    assert bench.run(poll_interval=interval).exit_code is ExitCode.DONE
    assert told_at
    assert max(late, default=0.0) <= 1.0


def test_whoever_is_asked_after_the_first_jobs_finds_them_on_record(folder: Path) -> None:
    bench = Bench(folder, jobs(3))
    found: list[dict[str, str]] = []

    def ask(_: CanaryReport) -> bool:
        found.append(bench.states())
        return True

    assert bench.run(canary=1, confirm=ask).exit_code is ExitCode.DONE
    assert found == [{"j1": "downloaded", "j2": "planned", "j3": "planned"}]


@pytest.mark.parametrize(
    ("learned", "on_record"),
    [(JobState.COMPLETED, "submitted"), (JobState.DOWNLOADED, "completed")],
)
def test_a_crash_before_what_was_noted_is_written_costs_no_credit_and_no_download(
    folder: Path, monkeypatch: pytest.MonkeyPatch, learned: JobState, on_record: str
) -> None:
    bench = Bench(folder, jobs(1))
    write = Batch.write_noted

    def crash_once_learned(batch: Batch, wait: float = inf) -> None:
        if batch.records["j1"].state is learned:
            raise RuntimeError("crash")
        write(batch, wait)

    monkeypatch.setattr(Batch, "write_noted", crash_once_learned)
    with pytest.raises(RuntimeError):
        bench.run()
    monkeypatch.setattr(Batch, "write_noted", write)
    assert bench.states() == {"j1": on_record}
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.states() == {"j1": "downloaded"}
    assert len(bench.host.fetched) == len(bench.simulator.ledger) == 1
