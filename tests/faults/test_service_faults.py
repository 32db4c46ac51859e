"""What the service does wrong to submissions and polls: rows 13 to 23, 25, 30 of the matrix."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, jobs
from support.money import assert_bought_once, assert_finishes

from kling_batch.errors import ExitCode
from kling_batch.planning.plan import Wishes
from kling_batch.service.transport import HttpRequest, HttpResponse
from kling_batch.simulator.faults import FaultScript

QUIET = 600.0


def submit(do: Any, nth: Any = 2, **rule: Any) -> dict[str, Any]:
    return {"on": "submit", "nth": nth, "do": do, **rule}


def respond(status: int, body: str = "", **headers: str) -> dict[str, Any]:
    return {"respond": {"status": status, "body": body, "headers": headers}}


# -- submissions whose outcome is known ------------------------------------------------------------


def test_a_refused_connection_is_tried_again(folder: Path) -> None:
    bench = Bench(folder, jobs(3), faults=[submit("refuse", [1, 2])])
    assert bench.run().exit_code is ExitCode.DONE
    assert [happening.detail["seconds"] for happening in bench.told("waiting")] == [1.0, 2.0]
    assert_finishes(bench, 3)


def test_refused_connections_end_the_run_after_a_few(folder: Path) -> None:
    bench = Bench(folder, jobs(3), faults=[submit("refuse", "every")])
    result = bench.run()
    assert result.exit_code is ExitCode.STOPPED
    assert result.stop
    assert "can't be reached" in result.stop.message
    assert bench.simulator.requests["POST", "generate"] == 5
    assert set(bench.states().values()) == {"planned"}
    assert bench.simulator.ledger == ()
    assert_finishes(bench, 3)


def test_a_refusal_leaves_the_job_as_it_was(folder: Path) -> None:
    bench = Bench(folder, jobs(1), faults=[submit("refuse", [1])])
    bench.run()
    assert bench.records()["j1"].attempts == 1


def test_a_400_is_the_end_of_that_job_alone(folder: Path) -> None:
    bench = Bench(folder, jobs(3), faults=[submit(respond(400, '{"error": "too rude"}'))])
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.states() == {"j1": "downloaded", "j2": "rejected", "j3": "downloaded"}
    assert bench.records()["j2"].error == "too rude"
    assert bench.records()["j2"].committed == 0
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.simulator.requests["POST", "generate"] == 3
    assert_bought_once(bench, 3)
    assert_finishes(bench, 3, wishes=Wishes(retry_failed=True))


@pytest.mark.parametrize("status", [413, 415, 422])
def test_other_refusals_of_a_request_reject_it_too(folder: Path, status: int) -> None:
    bench = Bench(folder, jobs(2), faults=[submit(respond(status), 1)])
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.states() == {"j1": "rejected", "j2": "downloaded"}


@pytest.mark.parametrize("nth", [1, 3])
def test_a_401_stops_submitting_and_what_is_in_flight_is_fetched(folder: Path, nth: int) -> None:
    bench = Bench(folder, jobs(4), faults=[submit(respond(401), nth)])
    result = bench.run()
    assert result.exit_code is ExitCode.KEY
    assert bench.simulator.requests["POST", "generate"] == nth
    assert list(bench.states().values()).count("downloaded") == nth - 1
    assert result.unfinished == 4 - (nth - 1)
    assert_finishes(bench, 4)


def test_a_key_revoked_while_jobs_are_in_flight_keeps_them(folder: Path) -> None:
    bench = Bench(folder, jobs(3), faults=[{"on": "poll", "nth": "3+", "do": respond(401)}])
    result = bench.run()
    assert result.exit_code is ExitCode.KEY
    assert result.left
    assert set(bench.states().values()) <= {"submitted", "processing", "downloaded"}
    assert_finishes(bench, 3)


def test_out_of_credits_drains_says_what_is_missing_and_goes_on_after_a_top_up(
    folder: Path,
) -> None:
    bench = Bench(folder, jobs(5), balance=130)
    result = bench.run()
    assert result.exit_code is ExitCode.BUDGET
    assert result.stop
    assert "3 jobs left need 180 credits" in result.stop.message
    assert "170 short" in result.stop.message
    assert sorted(bench.states().values()) == ["downloaded"] * 2 + ["planned"] * 3
    bench.simulator.top_up(1000)
    assert_finishes(bench, 5)


def test_a_wrong_address_stops_before_more_is_sent(folder: Path) -> None:
    bench = Bench(folder, jobs(3), faults=[submit(respond(404), "every")])
    assert bench.run().exit_code is ExitCode.STOPPED
    assert bench.simulator.requests["POST", "generate"] == 1
    assert_finishes(bench, 3)


# -- the rate limit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("120", 120, 121),
        (formatdate(1_790_000_090.0, usegmt=True), 89, 91),
        ("1e9", 3600, 3601),
        ("0", 1, 2),
        ("-5", 149, 3601),
        ("soon", 149, 3601),
        ("nan", 149, 3601),
        (formatdate(0, usegmt=True), 149, 3601),
    ],
)
def test_a_429_is_waited_for_within_bounds(
    folder: Path, retry_after: str, least: float, most: float
) -> None:
    limited = submit(respond(429, **{"retry-after": retry_after}), 1)
    bench = Bench(folder, jobs(2), faults=[limited])
    start = bench.clock.now()
    assert bench.run().exit_code is ExitCode.DONE
    assert least <= min(charge.at for charge in bench.simulator.ledger) - start <= most
    assert_finishes(bench, 2)


def test_a_429_without_a_word_waits_until_the_oldest_submission_is_an_hour_old(
    folder: Path,
) -> None:
    bench = Bench(folder, jobs(3), faults=[submit(respond(429), 3)])
    start = bench.clock.now()
    assert bench.run().exit_code is ExitCode.DONE
    assert max(charge.at for charge in bench.simulator.ledger) - start >= 3600
    assert_finishes(bench, 3)


def test_a_429_without_a_word_on_an_empty_ledger_waits_for_one_place(folder: Path) -> None:
    bench = Bench(folder, jobs(1), faults=[submit(respond(429), 1)])
    assert bench.run().exit_code is ExitCode.DONE
    assert [happening.detail["seconds"] for happening in bench.told("waiting")] == [150.0]
    assert_finishes(bench, 1)


def test_submissions_made_elsewhere_are_learnt_from_a_429(folder: Path) -> None:
    bench = Bench(folder, jobs(4), submissions_per_hour=2)
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("rate_limited")) <= 2
    assert_finishes(bench, 4)


# -- submissions whose outcome is unknown ----------------------------------------------------------

NO_CLEAR_ANSWER: dict[str, Any] = {
    "reset": "reset",
    "time-out": {"timeout": 1},
    "500": respond(500, '{"error": "oops"}'),
    "502 with a page": respond(502, "<h1>Bad gateway</h1>"),
    "503": respond(503),
    "504": respond(504),
    "302": {"redirect": "https://elsewhere.example.com/"},
    "409": respond(409),
    "200 with a page": "garbage",
    "200 and nothing": respond(200),
    "204": respond(204),
    "no object": respond(200, "[1, 2]"),
    "another shape": respond(200, '{"success": true, "id": "x"}'),
    "ids of no kind": respond(200, '{"success": true, "job_ids": [null, {}]}'),
    "an empty id": respond(200, '{"success": true, "job_ids": [""]}'),
    "an id with a path": respond(200, '{"success": true, "job_ids": ["../../x"]}'),
    "cut JSON": respond(200, '{"success": true, "job_i'),
    "deep JSON": respond(200, "[" * 100_000),
    "NaN for ids": respond(200, '{"success": true, "job_ids": NaN}'),
    "a huge number": respond(200, f'{{"success": true, "job_ids": [{"9" * 5000}]}}'),
    "no UTF-8": respond(200, "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")),
    "success: false": "success_false",
}


@pytest.mark.parametrize("acted", ["after", "before"])
@pytest.mark.parametrize("fault", NO_CLEAR_ANSWER)
def test_no_clear_answer_is_settled_by_the_history(folder: Path, fault: str, acted: str) -> None:
    bench = Bench(folder, jobs(3), faults=[submit(NO_CLEAR_ANSWER[fault], act=acted)])
    start = bench.clock.now()
    assert bench.run().exit_code is ExitCode.DONE, bench.states()
    assert len(bench.told("unknown")) == 1
    posts = bench.simulator.requests["POST", "generate"]
    if acted == "after":
        assert posts == 3
        assert len(bench.told("adopted")) == 1
    else:
        assert posts == 4
        again = next(c.at for c in bench.simulator.ledger if c.prompt == "number 2")
        assert again - start >= QUIET, "it was sent again before the quiet period was over"
    assert_finishes(bench, 3)


def test_no_ids_is_unknown_and_the_job_is_found(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[submit("no_ids", 1)])
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("adopted")) == 1
    assert_finishes(bench, 2)


def test_an_answer_that_can_not_be_read_is_kept(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[submit(respond(200, "who knows"), 1, act="after")])
    bench.run()
    assert [attempt.raw for attempt in bench._attempts()] == ["who knows", ""]


def test_more_ids_than_asked_for_are_all_kept_and_fetched(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[submit({"job_ids": 3}, 1)])
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("extra")) == 2
    assert set(bench.states()) == {"j1", "j2", "j1.extra1", "j1.extra2"}
    assert (folder / "outputs/batch/j1.extra2.mp4").exists()
    assert_finishes(bench, 2)


def test_ids_that_can_not_be_read_do_not_lose_those_that_can(folder: Path) -> None:
    answer = respond(200, '{"success": true, "job_ids": ["f00", null]}')
    bench = Bench(folder, jobs(1), faults=[submit(answer, 1)])
    bench.run(timeout=1.0)
    assert bench.records()["j1"].job_id == "f00"


def test_an_id_that_another_job_has_is_a_conflict_and_never_reassigned(folder: Path) -> None:
    bench = Bench(folder, jobs(3), faults=[submit("same_id", 2)])
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("conflict")) == 1
    assert len({record.job_id for record in bench.records().values()}) == 3
    assert_finishes(bench, 3)


def test_an_id_that_another_manifest_has_is_a_conflict_too(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[submit("same_id", 3)])
    bench.run()
    first = bench.records()["j1"].job_id
    bench.state_file.rename(bench.state_file.with_name("elsewhere.db"))
    bench.write(jobs(1).replace("number", "other"))
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.told("conflict")) == 1
    assert bench.records()["j1"].job_id != first


def test_every_result_of_a_job_is_fetched(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    handle = bench.simulator.handle

    def two_results(request: HttpRequest) -> HttpResponse:
        answer = handle(request)
        if "/status/" not in request.path:
            return answer
        told = answer.json()
        told["job"]["result_urls"] *= 2
        return replace(answer, body=json.dumps(told).encode())

    bench.transport = lambda request: two_results(
        replace(request, headers={**request.headers, "authorization": "Bearer key"})
    )
    bench.simulator.script(FaultScript.read([{"on": "result", "nth": [1, 2], "do": "expire"}]))
    result = bench.run()
    assert result.exit_code is ExitCode.DONE
    assert result.spent == 60
    assert set(bench.states().items()) == {("j1", "downloaded"), ("j1.extra1", "downloaded")}
    assert {path.name for path in (folder / "outputs/batch").glob("*.mp4")} == {
        "j1.mp4",
        "j1.extra1.mp4",
    }
    assert set(bench.actions().values()) == {"done"}


def test_three_unknown_in_a_row_stop_submitting(folder: Path) -> None:
    bench = Bench(
        folder,
        jobs(6),
        faults={"history": {"absent": True}, "rules": [submit("reset", "2+", act="after")]},
    )
    result = bench.run()
    assert result.exit_code is ExitCode.OUTCOME_UNKNOWN
    assert bench.simulator.requests["POST", "generate"] == 4
    assert sorted(result.undecided) == ["j2", "j3", "j4"]
    assert_bought_once(bench, 6)


def test_three_unknown_in_a_row_that_are_all_found_are_no_failure(folder: Path) -> None:
    bench = Bench(folder, jobs(4), faults=[submit("reset", [2, 3, 4], act="after")])
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 4)


def test_a_clear_answer_ends_a_row_of_unknown_ones(folder: Path) -> None:
    faults = [submit("reset", [2, 3, 5, 6], act="after")]
    bench = Bench(folder, jobs(8), faults=faults)
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 8
    assert_finishes(bench, 8)


# -- polls -----------------------------------------------------------------------------------------


def test_an_unknown_status_word_is_not_yet(folder: Path) -> None:
    words = {"on": "poll", "nth": [1, 2], "do": {"status_word": "reticulating"}}
    bench = Bench(folder, jobs(1), faults=[words])
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 1)


@pytest.mark.parametrize(
    "fault",
    [respond(500), respond(429, **{"retry-after": "7"}), "reset", "garbage", "success_false"],
)
def test_bad_answers_to_polls_are_borne(folder: Path, fault: Any) -> None:
    bench = Bench(folder, jobs(2), faults=[{"on": "poll", "nth": [1, 2, 3], "do": fault}])
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 2
    assert_finishes(bench, 2)


def test_a_short_404_on_a_known_job_is_borne(folder: Path) -> None:
    bench = Bench(folder, jobs(1), faults=[{"on": "poll", "nth": [1, 2], "do": "vanish"}])
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 1)


def test_a_job_that_the_service_forgot_is_missing_and_found_again_later(folder: Path) -> None:
    bench = Bench(folder, jobs(1), faults=[{"on": "poll", "do": "vanish"}])
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.states() == {"j1": "missing"}
    assert bench.records()["j1"].committed == 60
    assert bench.actions() == {"j1": "resume"}
    assert bench.run(Wishes(retry_failed=True)).exit_code is ExitCode.JOBS_FAILED
    assert bench.simulator.requests["POST", "generate"] == 1
    assert_finishes(bench, 1)
    assert bench.records()["j1"].error is None


def test_terminal_is_terminal_though_the_status_flaps(folder: Path) -> None:
    faults = [
        {"on": "result", "nth": 1, "do": "expire"},
        {"on": "poll", "when": "completed", "nth": "2+", "do": {"status_word": "failed"}},
    ]
    bench = Bench(folder, jobs(1), faults=faults)
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.told("failed") == []
    assert_finishes(bench, 1)


def test_a_failed_job_stays_failed_though_the_service_changes_its_mind(folder: Path) -> None:
    faults = [{"on": "poll", "nth": 1, "do": {"status_word": "failed"}}]
    bench = Bench(folder, jobs(1), faults=faults)
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.states() == {"j1": "failed"}
    assert bench.simulator.requests["POST", "generate"] == 1


def test_completed_without_a_url_is_asked_for_it_again(folder: Path) -> None:
    faults = [{"on": "poll", "when": "completed", "nth": [1, 2], "do": "no_urls"}]
    bench = Bench(folder, jobs(1), faults=faults)
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 1)


def test_completed_and_never_a_url_is_left_for_a_later_run(folder: Path) -> None:
    bench = Bench(folder, jobs(1), faults=[{"on": "poll", "do": "no_urls"}])
    result = bench.run()
    assert result.exit_code is ExitCode.STOPPED
    assert bench.states() == {"j1": "completed"}
    assert "no URL" in result.left["j1"]
    assert bench.actions() == {"j1": "download"}
    assert_finishes(bench, 1)


def test_a_service_gone_while_jobs_are_in_flight_ends_the_run_and_not_the_jobs(
    folder: Path,
) -> None:
    bench = Bench(folder, jobs(2), faults=[{"on": "poll", "do": "refuse"}])
    result = bench.run()
    assert result.exit_code is ExitCode.STOPPED
    assert set(result.left) == {"j1", "j2"}
    assert_finishes(bench, 2)


# -- charges unlike the plan -----------------------------------------------------------------------


@pytest.mark.parametrize("contract", ["canonical", "legacy"])
def test_a_charge_unlike_the_plan_is_said_and_stops_submitting(folder: Path, contract: str) -> None:
    settings = f"service: {{contract: {contract}, max_in_flight: 1}}\n"
    bench = Bench(folder, jobs(3, settings), faults=[submit({"charge": 90}, 1)])
    result = bench.run()
    assert result.exit_code is ExitCode.BUDGET
    assert [h.detail for h in bench.told("charge_differs")] == [{"planned": 60, "charged": 90}]
    assert result.spent == 90
    assert bench.states() == {"j1": "downloaded", "j2": "planned", "j3": "planned"}
    assert_finishes(bench, 3)


def test_a_lower_charge_for_fewer_seconds_is_no_wrong_rate(folder: Path) -> None:
    told = {
        "success": True,
        "job": {
            "job_id": "f00",
            "status": "completed",
            "credits_charged": 48,
            "provider_meta": {"effective_duration_seconds": 4},
            "result_urls": [],
        },
    }
    faults = [
        submit(respond(200, '{"success": true, "job_ids": ["f00"]}'), 1),
        {"on": "poll", "nth": 1, "do": {"respond": {"status": 200, "json": told}}},
    ]
    bench = Bench(folder, jobs(1), faults=faults)
    result = bench.run()
    assert len(bench.told("charge_differs")) == 1
    assert result.exit_code is ExitCode.STOPPED  # for want of the file, not for the price
    assert bench.records()["j1"].committed == 48


def test_a_refund_that_is_told_later_is_taken_down(folder: Path) -> None:
    bench = Bench(folder, jobs(1).replace("number 1", "number 1 [fail]"))
    first = {
        "success": True,
        "job": {"status": "failed", "error_message": "no", "credits_refunded": False},
    }
    answer = {"respond": {"status": 200, "json": first}}
    rule = {"on": "poll", "when": "failed", "nth": 1, "do": answer}
    bench.simulator.script(FaultScript.read([rule]))
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    assert bench.records()["j1"].credits_refunded == 60
    assert bench.records()["j1"].committed == 0


def test_a_refund_that_never_comes_counts_as_spent(folder: Path) -> None:
    told = {"success": True, "job": {"status": "failed", "error_message": "no"}}
    rule = {"on": "poll", "do": {"respond": {"status": 200, "json": told}}}
    bench = Bench(folder, jobs(1), faults=[rule])
    result = bench.run()
    assert result.exit_code is ExitCode.JOBS_FAILED
    assert result.spent == 60
