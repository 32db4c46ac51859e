"""A submission whose outcome is unknown, from the outside: told, kept, decided by the user."""

from __future__ import annotations

import pytest
from support.bench import jobs

from kling_batch.simulator.faults import FaultScript

RUN = ("run", "m.yaml", "--yes", "--poll-interval", "0.05", "--reconcile-wait", "0.3")


@pytest.fixture
def undecided(call, service, tmp_path):
    """One job of two was made and charged, no answer came, and the service has no history."""
    rules = [{"on": "generate", "nth": 1, "act": "after", "do": "reset"}]
    service.simulator.script(FaultScript.read({"history": {"absent": True}, "rules": rules}))
    (tmp_path / "m.yaml").write_text(jobs(2))
    told = call(*RUN)
    assert told.code == 3
    return told


def states(call):
    status = call("status", "m.yaml", "--json").json
    return {job["id"]: job["state"] for job in status["jobs"]}


def test_it_is_told_with_its_time_and_the_commands_that_decide(undecided):
    assert "j1: sent at " in undecided.err
    assert "nothing was resent" in undecided.err
    for answer in ("--job-id J", "--not-charged", "--forget"):
        assert f"kling-batch resolve m.yaml j1 {answer}" in undecided.err


def test_the_others_go_on_and_it_is_not_resent_by_a_later_run(undecided, call, service):
    assert states(call) == {"j1": "unknown", "j2": "downloaded"}
    assert call(*RUN).code == 3
    assert len(service.simulator.ledger) == 2


def test_naming_its_job_brings_the_video_without_paying_again(undecided, call, service):
    charged = service.simulator.ledger[0]
    assert charged.prompt == "number 1"
    assert call("resolve", "m.yaml", "j1", "--job-id", charged.job_id).code == 0
    assert call(*RUN).code == 0
    assert states(call) == {"j1": "downloaded", "j2": "downloaded"}
    assert len(service.simulator.ledger) == 2


@pytest.mark.parametrize("answer", ["--not-charged", "--forget"])
def test_giving_it_up_plans_it_again(undecided, call, service, answer):
    assert call("resolve", "m.yaml", "j1", answer).code == 0
    plan = call("plan", "m.yaml", "--json").json
    assert plan["jobs"][0]["action"] == "submit"
    assert call(*RUN).code == 0
    assert len(service.simulator.ledger) == 3


def test_what_is_forgotten_still_counts_against_the_budget(undecided, call, service):
    call("resolve", "m.yaml", "j1", "--forget")
    assert call(*RUN, "--max-credits", "150").code == 4
    call("resolve", "m.yaml", "j1", "--not-charged")
    assert call(*RUN, "--max-credits", "180").code == 0


def test_another_jobs_id_is_refused(undecided, call, service):
    other = service.simulator.ledger[1].job_id
    told = call("resolve", "m.yaml", "j1", "--job-id", other)
    assert told.code == 2
    assert "j2" in told.err
    assert states(call)["j1"] == "unknown"


def test_a_job_in_no_doubt_is_left_as_it_is(undecided, call):
    told = call("resolve", "m.yaml", "j2", "--forget")
    assert told.code == 2
    assert "downloaded" in told.err
