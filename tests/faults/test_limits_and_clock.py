"""Limits over time: the hour, clocks that jump (row 27), the time-out, the budget, the canary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, jobs
from support.money import assert_bought_once, assert_finishes

from kling_batch.errors import ExitCode
from kling_batch.state.store import Happening

HOUR = 3600.0
FOUR = "service: {submissions_per_hour: 4}\n"


def most_in_an_hour(times: Sequence[float]) -> int:
    return max(sum(at <= one < at + HOUR for one in times) for at in times)


def on(name: str, number: int, act: Any) -> Any:
    """Do that when this happens for the so-manieth time."""
    seen = 0

    def saw(happening: Happening, _: object) -> None:
        nonlocal seen
        seen += happening.name == name
        if happening.name == name and seen == number:
            act()

    return saw


# -- the hour and the clocks -----------------------------------------------------------------------


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 30 * 86_400.0, -30 * 86_400.0])
@pytest.mark.parametrize("when", [1, 3, 4, 5])
def test_the_hourly_limit_holds_though_the_wall_clock_jumps(
    folder: Path, jump: float, when: int
) -> None:
    bench = Bench(folder, jobs(6, FOUR), submissions_per_hour=4)
    result = bench.run(on_event=on("submitted", when, lambda: bench.clock.jump(jump)))
    assert result.exit_code is ExitCode.DONE
    assert bench.told("rate_limited") == []
    assert most_in_an_hour([charge.at for charge in bench.simulator.ledger]) <= 4
    assert_finishes(bench, 6)


def test_a_machine_that_sleeps_goes_on(folder: Path) -> None:
    bench = Bench(folder, jobs(6, FOUR), submissions_per_hour=4)
    result = bench.run(on_event=on("submitted", 2, lambda: bench.clock.sleep(8 * HOUR)))
    assert result.exit_code is ExitCode.DONE
    assert most_in_an_hour([charge.at for charge in bench.simulator.ledger]) <= 4
    assert_finishes(bench, 6)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_jobs_are_followed_on_time_though_the_wall_clock_jumps(folder: Path, jump: float) -> None:
    bench = Bench(folder, jobs(8, "service: {max_in_flight: 2}\n"))
    start = bench.clock.steady()
    bench.run(on_event=on("submitted", 2, lambda: bench.clock.jump(jump)))
    assert bench.clock.steady() - start < 1200.0
    assert_finishes(bench, 8)


def test_the_hourly_limit_holds_over_runs_and_manifests(folder: Path) -> None:
    bench = Bench(folder, jobs(3, FOUR), submissions_per_hour=4)
    bench.run(wait=False)
    bench.state_file.rename(bench.state_file.with_name("other.db"))
    bench.write(jobs(3, FOUR).replace("number", "other"))
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.told("rate_limited") == []
    times = [charge.at for charge in bench.simulator.ledger]
    assert len(times) == 6
    assert most_in_an_hour(times) <= 4


def test_polls_do_not_grow_with_waiting_jobs(folder: Path) -> None:
    """Two thousand that wait cost no poll: only the sixteen in flight are asked for."""
    polls = []
    for count in (16, 2000):
        below = folder / str(count)
        below.mkdir()
        bench = Bench(below, jobs(count), job_seconds=1e9)
        bench.run(timeout=1500.0)
        assert len(bench.simulator.ledger) == 16
        polls.append(bench.simulator.requests["GET", "status"])
    assert polls[0] == polls[1]


# -- the time-out ----------------------------------------------------------------------------------


def test_the_time_out_ends_the_run_and_not_the_jobs(folder: Path) -> None:
    bench = Bench(folder, jobs(6, FOUR), submissions_per_hour=4)
    result = bench.run(timeout=60.0)
    assert result.exit_code is ExitCode.STOPPED
    assert result.stop is not None
    assert "--timeout" in result.stop.message
    assert_finishes(bench, 6)


@pytest.mark.parametrize("act", ["after", "before"])
def test_a_time_out_while_sending_waits_for_the_answer(folder: Path, act: str) -> None:
    slow = {"on": "submit", "nth": 2, "do": {"delay": 100}}
    bench = Bench(folder, jobs(3), faults=[slow])
    assert bench.run(timeout=50.0).exit_code is ExitCode.STOPPED
    assert bench.states() == {"j1": "submitted", "j2": "submitted", "j3": "planned"}
    assert_finishes(bench, 3)


def test_an_interrupt_while_sending_waits_for_the_answer(folder: Path) -> None:
    bench = Bench(folder, jobs(3))

    def interrupt(happening: Happening, runner: Any) -> None:
        if happening.name == "submitting" and happening.job == "j2":
            runner.interrupt()

    assert bench.run(on_event=interrupt).exit_code is ExitCode.INTERRUPTED
    assert bench.records()["j2"].job_id
    assert bench.simulator.requests["POST", "generate"] == 2
    assert_finishes(bench, 3)


# -- the budget ------------------------------------------------------------------------------------


def test_the_budget_is_never_passed(folder: Path) -> None:
    bench = Bench(folder, jobs(5, "budget: {max_credits: 200}\n"))
    result = bench.run()
    assert result.exit_code is ExitCode.BUDGET
    assert sum(charge.credits for charge in bench.simulator.ledger) == 180
    assert bench.run().exit_code is ExitCode.BUDGET
    assert len(bench.simulator.ledger) == 3
    bench.write(jobs(5))
    assert_finishes(bench, 5)


def test_the_tighter_budget_counts(folder: Path) -> None:
    bench = Bench(folder, jobs(5, "budget: {max_credits: 200}\n"))
    assert bench.run(max_credits=100).exit_code is ExitCode.BUDGET
    assert len(bench.simulator.ledger) == 1


def test_the_balance_to_keep_is_kept(folder: Path) -> None:
    bench = Bench(folder, jobs(5, "budget: {min_balance: 100}\n"), balance=300)
    assert bench.run().exit_code is ExitCode.BUDGET
    assert bench.simulator.balance >= 100


def test_what_is_unknown_counts_against_the_budget(folder: Path) -> None:
    faults: Any = {
        "history": {"absent": True},
        "rules": [{"on": "submit", "nth": 1, "do": "reset", "act": "after"}],
    }
    bench = Bench(folder, jobs(3, "budget: {max_credits: 120}\n"), faults=faults)
    assert bench.run().exit_code is ExitCode.BUDGET
    assert sum(charge.credits for charge in bench.simulator.ledger) == 120


def test_a_confirmed_refund_is_free_again(folder: Path) -> None:
    text = jobs(3, "budget: {max_credits: 120}\nservice: {max_in_flight: 1}\n")
    bench = Bench(folder, text.replace("number 1", "number 1 [fail]"))
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.states() == {"j1": "failed", "j2": "downloaded", "j3": "downloaded"}


def test_a_renamed_job_is_counted_once(folder: Path) -> None:
    bench = Bench(folder, jobs(2, "budget: {max_credits: 180}\n"))
    bench.run()
    bench.write(jobs(3, "budget: {max_credits: 180}\n").replace("id: j1", "id: new"))
    result = bench.run()
    assert result.exit_code is ExitCode.DONE
    assert result.spent == 180
    assert_finishes(bench, 3)


# -- the canary ------------------------------------------------------------------------------------


def test_the_canary_asks_after_the_first_jobs(folder: Path) -> None:
    bench = Bench(folder, jobs(5))
    assert bench.run(canary=2, confirm=lambda _: False).exit_code is ExitCode.DECLINED
    assert len(bench.simulator.ledger) == 2
    (report,) = bench.reports
    assert [record.state.value for record in report.jobs] == ["downloaded"] * 2
    assert (report.left, report.credits_left) == (3, 180)
    assert bench.run(canary=1).exit_code is ExitCode.DONE
    assert_finishes(bench, 5)


@pytest.mark.parametrize("act", ["after", "before"])
def test_a_canary_of_unknown_outcome_is_settled_before_more_is_bought(
    folder: Path, act: str
) -> None:
    lost = {"on": "submit", "nth": 1, "do": "reset", "act": act}
    bench = Bench(folder, jobs(4), faults=[lost])
    assert bench.run(canary=1, confirm=lambda _: False).exit_code is ExitCode.DECLINED
    assert len(bench.simulator.ledger) == 1
    assert_finishes(bench, 4)


def test_a_canary_that_covers_the_whole_batch_asks_nothing(folder: Path) -> None:
    bench = Bench(folder, jobs(2))
    assert bench.run(canary=2, confirm=lambda _: False).exit_code is ExitCode.DONE
    assert bench.reports == []


def test_a_canary_with_no_wait_asks_too(folder: Path) -> None:
    bench = Bench(folder, jobs(3))
    assert bench.run(canary=1, wait=False).exit_code is ExitCode.DONE
    assert len(bench.reports) == 1
    assert_bought_once(bench, 3)
    assert_finishes(bench, 3)
