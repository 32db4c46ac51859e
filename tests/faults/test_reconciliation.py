"""What the history may do to a submission without an answer: row 24 of the matrix, and `resolve`.

The one thing that must never happen is a second purchase; to ask too often is a lesser evil.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, jobs
from support.money import FOREIGN, assert_bought_once, assert_finishes, post, resolve

from kling_batch.errors import ExitCode
from kling_batch.service.transport import HttpRequest, HttpResponse, Unanswered
from kling_batch.simulator.faults import FaultScript
from kling_batch.state.store import Happening

QUIET = 600.0


def lost(nth: Any = 2, act: str = "after") -> dict[str, Any]:
    """A submission whose answer never came, and whether the service made the job."""
    return {"on": "submit", "nth": nth, "do": "reset", "act": act}


def bench_with(folder: Path, count: int, *rules: dict[str, Any], **history: Any) -> Bench:
    return Bench(folder, jobs(count), faults={"rules": list(rules), "history": history})


def flood(bench: Bench, count: int, after: str = "unknown") -> Any:
    """Another program submits so many jobs as soon as that has happened."""

    def saw(happening: Happening, _: object) -> None:
        nonlocal count
        if happening.name == after:
            for number in range(count):
                post(bench, f"{FOREIGN} {number}")
            count = 0

    return saw


# -- what may be adopted or sent again -------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, 5, 60, 500])
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_a_history_that_lags_shows_the_job_in_the_end(folder: Path, lag: int, nth: int) -> None:
    bench = bench_with(folder, 5, lost(nth), lag=lag)
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 1
    assert_finishes(bench, 5)


@pytest.mark.parametrize("lag", [650, 5000])
def test_a_lag_beyond_the_quiet_period_leaves_it_to_the_user(folder: Path, lag: int) -> None:
    bench = bench_with(folder, 5, lost(2), lag=lag)
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    assert_bought_once(bench, 5)
    assert_finishes(bench, 5)  # once the history shows it, the next run adopts it


def test_nothing_is_sent_again_before_the_quiet_period_is_over(folder: Path) -> None:
    bench = bench_with(folder, 3, lost(2, "before"))
    assert bench.run(reconcile_wait=1234.0).exit_code is ExitCode.DONE
    made = {charge.prompt: charge.at - 1_790_000_000.0 for charge in bench.simulator.ledger}
    assert made["number 2"] >= 1234.0
    assert made["number 3"] < 60.0, "the others wait for nothing"
    assert_finishes(bench, 3)


def test_the_history_is_read_four_times_over_the_quiet_period(folder: Path) -> None:
    bench = bench_with(folder, 2, lost(2, "before"))
    readings: list[float] = []
    handle = bench.transport

    def watched(request: HttpRequest) -> HttpResponse:
        if "/history/" in request.path and "offset=0" in request.path:
            readings.append(bench.clock.steady())
        return handle(request)

    bench.transport = watched
    bench.run()
    assert readings == pytest.approx([0.0, 200.0, 400.0, 600.0])


def test_the_very_first_job_of_an_account_is_planned_again_too(folder: Path) -> None:
    bench = bench_with(folder, 4, lost(1, "before"))
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 4)


def test_a_job_on_a_later_page_is_found(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[lost(2)], submissions_per_hour=None, balance=100_000)
    assert bench.run(on_event=flood(bench, 250)).exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 1
    assert_finishes(bench, 2)


@pytest.mark.parametrize("page", [1, 7])
def test_a_service_with_shorter_pages_is_read_to_the_end(folder: Path, page: int) -> None:
    bench = Bench(folder, jobs(2), faults=[lost(2)], submissions_per_hour=None)
    handle = bench.transport
    bench.transport = lambda r: handle(
        replace(r, path=r.path.replace("limit=100", f"limit={page}"))
    )
    assert bench.run(on_event=flood(bench, 20)).exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 1
    assert_finishes(bench, 2)


def test_two_takes_with_one_request_are_each_found(folder: Path) -> None:
    text = jobs(2).replace("number 2", "number 1")
    bench = Bench(folder, text, faults=[lost([1, 2])])
    assert bench.run().exit_code is ExitCode.DONE
    assert len({record.job_id for record in bench.records().values()}) == 2
    assert_finishes(bench, 2)


@pytest.mark.parametrize("made", [1, 2])
def test_of_two_takes_the_one_that_was_not_made_is_made(folder: Path, made: int) -> None:
    text = jobs(2).replace("number 2", "number 1")
    rules = [lost(made), lost(3 - made, "before")]
    bench = Bench(folder, text, faults=rules)
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 2)


def test_a_take_on_record_is_not_taken_for_the_lost_one(folder: Path) -> None:
    bench = Bench(folder, jobs(2).replace("number 2", "number 1"), faults=[lost(2, "before")])
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 0
    assert_finishes(bench, 2)


def test_a_prompt_with_other_white_space_is_the_same(folder: Path) -> None:
    text = jobs(2).replace("'number 2'", '"number  2\\n and more"')
    bench = Bench(folder, text, faults=[lost(2)])
    rewrite_history(bench, lambda job: job | {"prompt": " ".join(job["prompt"].split())})
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 1
    assert_finishes(bench, 2)


def test_the_legacy_contract_is_settled_where_the_history_lists_its_jobs(folder: Path) -> None:
    text = jobs(3, "service: {contract: legacy}\n")
    bench = Bench(folder, text, faults=[lost(2), lost(3, "before")])
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 3)


def test_the_legacy_contract_is_asked_about_where_the_history_does_not_list_it(
    folder: Path,
) -> None:
    text = jobs(2, "service: {contract: legacy}\n")
    bench = Bench(folder, text, faults=[lost(2)])
    rewrite_history(bench, lambda job: None)
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    assert_bought_once(bench, 2)


# -- what must be asked ----------------------------------------------------------------------------


def rewrite_history(bench: Bench, change: Any) -> None:
    """What a history of another make tells: `change` takes a job and gives it back, or None."""
    import json

    handle = bench.transport

    def transport(request: HttpRequest) -> HttpResponse:
        answer = handle(request)
        if "/history/" not in request.path or answer.status != 200:
            return answer
        told = answer.json()
        told["jobs"] = [new for job in told["jobs"] if (new := change(job)) is not None]
        return replace(answer, body=json.dumps(told).encode())

    bench.transport = transport


ASKED: dict[str, Any] = {
    "no history": {"absent": True},
    "no prompts": {"prompts": False},
}


@pytest.mark.parametrize("act", ["after", "before"])
@pytest.mark.parametrize("history", ASKED)
def test_a_history_that_can_not_tell_leaves_it_to_the_user(
    folder: Path, history: str, act: str
) -> None:
    bench = bench_with(folder, 3, lost(2, act), **ASKED[history])
    result = bench.run()
    assert result.exit_code is ExitCode.OUTCOME_UNKNOWN
    assert list(result.undecided) == ["j2"]
    assert bench.states() == {"j1": "downloaded", "j2": "unknown", "j3": "downloaded"}
    assert bench.simulator.requests["POST", "generate"] == 3
    assert result.spent == 180, "what may have been charged counts"
    # a later run looks once more, and still sends nothing
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    assert bench.simulator.requests["POST", "generate"] == 3
    assert_bought_once(bench, 3)


CHANGED: dict[str, Any] = {
    "no times": lambda job: {**job, "created_at": None},
    "times of no kind": lambda job: {**job, "created_at": "yesterday"},
    "no ids": lambda job: {k: v for k, v in job.items() if k != "job_id"},
    "no status": lambda job: {k: v for k, v in job.items() if k != "status"},
    "cut prompts": lambda job: {**job, "prompt": job["prompt"][:30] + "…"},
    "no jobs of today": lambda job: None,
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_history_of_another_make_is_not_believed_for_what_it_leaves_out(
    folder: Path, change: str
) -> None:
    text = jobs(3).replace("number 2", "number 2, with a prompt that is rather long")
    bench = Bench(folder, text, faults=[lost(2)])
    rewrite_history(bench, CHANGED[change])
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    assert bench.simulator.requests["POST", "generate"] == 3
    assert_bought_once(bench, 3)


def test_a_history_that_is_down_is_read_again_and_then_asked_about(folder: Path) -> None:
    down = {"on": "history", "do": {"respond": {"status": 503}}}
    bench = Bench(folder, jobs(3), faults=[lost(2), down])
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    assert bench.simulator.requests["GET", "history"] >= 4
    assert_finishes(bench, 3)


@pytest.mark.parametrize("act", ["after", "before"])
def test_a_history_that_comes_back_settles_it_in_the_same_run(folder: Path, act: str) -> None:
    down = {"on": "history", "nth": [1, 2], "do": {"respond": {"status": 503}}}
    bench = Bench(folder, jobs(3), faults=[lost(2, act), down])
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 3)


@pytest.mark.parametrize("keep", [1, 2, 3, 5])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("lag", [0, 30])
def test_a_history_cut_short_by_our_own_jobs_never_makes_it_sent_again(
    folder: Path, keep: int, nth: int, lag: int
) -> None:
    bench = bench_with(folder, 6, lost(nth), keep=keep, lag=lag)
    result = bench.run()
    assert result.exit_code in (ExitCode.DONE, ExitCode.OUTCOME_UNKNOWN)
    assert bench.simulator.requests["POST", "generate"] == 6
    assert_bought_once(bench, 6)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("lag", [0, 30])
def test_a_history_flooded_by_others_never_makes_it_sent_again(
    folder: Path, nth: int, lag: int
) -> None:
    bench = Bench(
        folder,
        jobs(3),
        faults={"rules": [lost(nth)], "history": {"keep": 4, "lag": lag}},
        submissions_per_hour=None,
    )
    assert bench.run(on_event=flood(bench, 6)).exit_code is ExitCode.OUTCOME_UNKNOWN
    assert bench.simulator.requests["POST", "generate"] == 3 + 6
    assert_bought_once(bench, 3)


def test_a_twin_beside_the_real_one_is_never_adopted_by_guess(folder: Path) -> None:
    bench = bench_with(folder, 2, lost(2))
    twin = ""

    def saw(happening: Happening, _: object) -> None:
        nonlocal twin
        if happening.name == "unknown":
            twin = post(bench, "number 2")

    result = bench.run(on_event=saw)
    assert result.exit_code is ExitCode.OUTCOME_UNKNOWN
    assert len(result.undecided["j2"].job_ids) == 2
    assert twin in result.undecided["j2"].job_ids
    assert bench.records()["j2"].job_id is None
    ours = next(one for one in result.undecided["j2"].job_ids if one != twin)
    resolve(bench, "j2", job_id=ours)
    bench.clock.sleep(100)
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.records()["j2"].job_id == ours


@pytest.mark.parametrize(
    "unlike",
    [
        {"quality_mode": "1080p"},
        {"duration_seconds": 6},
    ],
)
def test_a_job_with_other_settings_is_no_twin(folder: Path, unlike: dict[str, Any]) -> None:
    bench = bench_with(folder, 2, lost(2))

    def saw(happening: Happening, _: object) -> None:
        if happening.name == "unknown":
            post(bench, "number 2", **unlike)

    assert bench.run(on_event=saw).exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 1


def test_a_job_of_another_manifest_of_the_account_is_never_adopted(folder: Path) -> None:
    bench = bench_with(folder, 1)
    bench.run()
    bench.state_file.rename(bench.state_file.with_name("another.db"))
    (folder / "outputs").rename(folder / "elsewhere")
    bench.clock.sleep(300)
    bench.simulator.script(FaultScript.read([lost(1, "before")]))
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.told("adopted") == []
    assert len(bench.simulator.ledger) == 2


def test_a_balance_that_fell_by_the_price_keeps_it_from_being_sent_again(folder: Path) -> None:
    """The history never shows it, but someone paid for something."""
    bench = bench_with(folder, 4, lost(2))
    rewrite_history(bench, lambda job: None if job["prompt"] == "number 2" else job)
    result = bench.run()
    assert result.exit_code is ExitCode.OUTCOME_UNKNOWN
    assert "the balance fell" in result.undecided["j2"].reason
    assert bench.simulator.requests["POST", "generate"] == 4
    assert_bought_once(bench, 4)


def test_a_refund_does_not_hide_that_the_balance_fell(folder: Path) -> None:
    text = jobs(5, "service: {max_in_flight: 1}\n").replace("number 3", "number 3 [fail]")
    bench = Bench(folder, text, faults=[lost(2)])
    rewrite_history(bench, lambda job: None if job["prompt"] == "number 2" else job)
    result = bench.run()
    assert "the balance fell" in result.undecided["j2"].reason
    assert bench.simulator.requests["POST", "generate"] == 5


def test_a_refund_that_came_since_the_balance_was_seen_hides_nothing_either(folder: Path) -> None:
    text = jobs(5, "service: {max_in_flight: 1}\n").replace("number 1", "number 1 [fail]")
    bench = Bench(folder, text, faults=[lost(2)])
    rewrite_history(bench, lambda job: None if job["prompt"] == "number 2" else job)

    def saw(happening: Happening, _: object) -> None:
        if happening.name == "failed":
            bench.clock.sleep(5.0)

    result = bench.run(on_event=saw)
    assert "the balance fell" in result.undecided["j2"].reason
    assert bench.simulator.requests["POST", "generate"] == 5


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 43_200.0, -43_200.0, 30 * 86_400.0])
@pytest.mark.parametrize("when", ["submitting", "unknown"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_clock_that_jumps_hides_no_job(folder: Path, jump: float, when: str, nth: int) -> None:
    bench = bench_with(folder, 4, lost(nth))

    def saw(happening: Happening, _: object) -> None:
        if happening.name == when and happening.job == f"j{nth}":
            bench.clock.jump(jump)

    assert bench.run(on_event=saw).exit_code is ExitCode.DONE
    assert bench.told("adopted")
    assert_finishes(bench, 4)


@pytest.mark.parametrize("skew", [3600.0, -3600.0, 300.0, 43_200.0, -43_200.0, 30 * 86_400.0])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_clock_that_is_wrong_throughout_hides_no_job(folder: Path, skew: float, nth: int) -> None:
    bench = bench_with(folder, 4, lost(nth))
    bench.clock.jump(skew)
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.told("adopted")
    assert_finishes(bench, 4)


@pytest.mark.parametrize("skew", [43_200.0, -43_200.0])
@pytest.mark.parametrize("date", ["", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_service_that_does_not_tell_the_time_is_asked_about(
    folder: Path, skew: float, date: str
) -> None:
    bench = bench_with(folder, 4, lost(1))
    without_date(bench, date)
    bench.clock.jump(skew)
    result = bench.run()
    assert result.exit_code is ExitCode.OUTCOME_UNKNOWN
    assert "j1" in result.undecided
    assert bench.simulator.requests["POST", "generate"] == 4
    assert_bought_once(bench, 4)


@pytest.mark.parametrize("jump", [43_200.0, -43_200.0])
def test_a_clock_that_was_wrong_before_the_machine_was_started_anew(
    folder: Path, jump: float
) -> None:
    bench = bench_with(folder, 4, lost(1))
    bench.clock.jump(jump)
    assert bench.run(timeout=1.0).exit_code is ExitCode.STOPPED
    bench.clock.era = "another boot"
    bench.clock.jump(-jump)
    result = bench.run()
    assert result.exit_code in (ExitCode.DONE, ExitCode.OUTCOME_UNKNOWN)
    assert bench.simulator.requests["POST", "generate"] == 4
    assert_bought_once(bench, 4)


@pytest.mark.parametrize(("jump", "later"), [(-43_200.0, 60.0), (-10_800.0, 60.0), (43_200.0, 5e4)])
@pytest.mark.parametrize("nth", [1, 4])
def test_a_clock_that_was_wrong_then_hides_no_job_that_the_history_is_slow_to_show(
    folder: Path, jump: float, later: float, nth: int
) -> None:
    bench = bench_with(folder, 4, lost(nth), lag=60)
    bench.clock.jump(jump)
    bench.run(timeout=30.0)
    bench.clock.era = "another boot"
    bench.clock.jump(-jump)
    bench.clock.sleep(later)
    result = bench.run()
    assert result.exit_code in (ExitCode.DONE, ExitCode.OUTCOME_UNKNOWN)
    assert_bought_once(bench, 4)


def without_date(bench: Bench, date: str) -> None:
    """The service says this instead of its time; "": nothing."""
    handle = bench.transport

    def transport(request: HttpRequest) -> HttpResponse:
        answer = handle(request)
        told = {name: value for name, value in answer.headers.items() if name != "date"}
        return replace(answer, headers={**told, "date": date} if date else told)

    bench.transport = transport


# -- a process that ends in between ----------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: nothing after this moment runs."""


@pytest.mark.parametrize("acted", [True, False])
@pytest.mark.parametrize("history", [{}, {"lag": 30}, {"absent": True}, {"keep": 2}])
def test_an_intent_without_an_answer_is_settled_by_the_next_run(
    folder: Path, acted: bool, history: dict[str, Any]
) -> None:
    bench = bench_with(folder, 4, **history)
    handle, posts = bench.transport, 0

    def transport(request: HttpRequest) -> HttpResponse:
        nonlocal posts
        posts += request.method == "POST"
        if posts == 2 and request.method == "POST":
            if acted:
                handle(request)
            raise Killed
        return handle(request)

    bench.transport = transport
    with pytest.raises(Killed):
        bench.run()
    assert bench.states()["j2"] == "unknown"
    bench.transport = handle
    result = bench.run()
    assert_bought_once(bench, 4)
    if history in ({}, {"lag": 30}):
        assert result.exit_code is ExitCode.DONE
        assert_finishes(bench, 4)
    else:
        assert result.exit_code in (ExitCode.DONE, ExitCode.OUTCOME_UNKNOWN)


def test_a_run_that_ends_while_it_looks_goes_on_looking_in_the_next(folder: Path) -> None:
    bench = bench_with(folder, 3, lost(2, "before"))
    assert bench.run(timeout=300.0).exit_code is ExitCode.STOPPED
    assert bench.states()["j2"] == "unknown"
    start = bench.clock.now()
    assert bench.run().exit_code is ExitCode.DONE
    assert max(charge.at for charge in bench.simulator.ledger) >= start + QUIET - 1.0
    assert_finishes(bench, 3)


# -- the user's word -------------------------------------------------------------------------------


def undecided(folder: Path, act: str) -> Bench:
    bench = bench_with(folder, 2, lost(2, act), absent=True)
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    return bench


def test_resolve_with_the_job_id_follows_it(folder: Path) -> None:
    bench = undecided(folder, "after")
    resolve(bench, "j2", job_id=bench.simulator.ledger[1].job_id)
    assert bench.actions()["j2"] == "resume"
    assert_finishes(bench, 2)


def test_resolve_not_charged_plans_it_again(folder: Path) -> None:
    bench = undecided(folder, "before")
    resolve(bench, "j2")
    assert bench.actions()["j2"] == "submit"
    assert bench.records()["j2"].committed == 0
    assert_finishes(bench, 2)


def test_resolve_forget_plans_it_again_and_counts_it_as_spent(folder: Path) -> None:
    bench = undecided(folder, "after")
    resolve(bench, "j2", forget=True)
    assert bench.records()["j2"].committed == 60
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.records()["j2"].committed == 120
    assert len(bench.simulator.ledger) == 3


def test_a_job_that_was_resolved_is_known_to_the_account(folder: Path) -> None:
    bench = undecided(folder, "after")
    found = bench.simulator.ledger[1].job_id
    resolve(bench, "j2", job_id=found)
    bench.run()
    bench.state_file.rename(bench.state_file.with_name("another.db"))
    (folder / "outputs").rename(folder / "elsewhere")
    bench.simulator.script(FaultScript.read({"history": {}, "rules": [lost(2, "before")]}))
    assert bench.run().exit_code is ExitCode.DONE
    assert found not in {record.job_id for record in bench.records().values()}


def test_an_answer_lost_on_the_way_is_unanswered_and_not_unsent(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    handle = bench.transport

    def transport(request: HttpRequest) -> HttpResponse:
        answer = handle(request)
        if request.method == "POST":
            raise Unanswered("the connection was reset")
        return answer

    bench.transport = transport
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 1
