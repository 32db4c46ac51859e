"""A saved plan from the outside: it does just what was approved, once, or says why not."""

from __future__ import annotations

import json
import shutil

import pytest
from support.bench import jobs
from support.schemas import validator

FAST = ("--poll-interval", "0.05")


@pytest.fixture
def planned(call, service, tmp_path):
    """A manifest of two jobs, and its plan saved before there is any state."""
    (tmp_path / "m.yaml").write_text(jobs(2))
    told = call("plan", "m.yaml", "--out", "plan.json")
    assert told.code == 0
    return tmp_path


def bought(service) -> int:
    return len(service.simulator.ledger)


def test_a_plan_is_saved_as_its_schema_says_with_the_command_that_runs_it(call, planned):
    told = call("plan", "m.yaml", "--out", "plan.json")
    assert told.out.splitlines()[-1].endswith("kling-batch run plan.json")
    saved = json.loads((planned / "plan.json").read_text())
    validator("saved-plan").validate(saved)
    assert saved["totals"] == {"jobs": 2, "credits": 120}
    assert [job["prompt"] for job in saved["jobs"]] == ["number 1", "number 2"]
    assert not (planned / ".kling-batch").exists()


def test_it_runs_without_a_question_and_only_once(call, service, planned):
    first = call("run", "plan.json", *FAST)
    assert first.code == 0, first.err
    assert bought(service) == 2
    again = call("run", "plan.json", *FAST)
    assert again.code == 2
    assert "was run already" in again.err
    assert "kling-batch run m.yaml" in again.err
    assert bought(service) == 2


def test_a_lost_state_makes_it_not_good_once_more(call, service, planned):
    assert call("run", "plan.json", *FAST).code == 0
    shutil.rmtree(planned / ".kling-batch")
    again = call("run", "plan.json", *FAST)
    assert again.code == 2
    assert "was run already" in again.err
    assert bought(service) == 2


def test_a_cosmetic_edit_leaves_it_good(call, service, planned):
    text = (planned / "m.yaml").read_text()
    (planned / "m.yaml").write_text(
        "# a comment\n" + text.replace("name: batch\n", "") + "name: batch\n"
    )
    assert call("run", "plan.json", *FAST).code == 0
    assert bought(service) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("number 2", "number two", "j2: prompt changed"),
        ("id: j2", "id: j3", "j2 is no longer planned"),
        ("pairs:", "pricing: {credits_per_second: {720p: 13}}\npairs:", "720p cost 12"),
        ("pairs:", "pricing: {usd_per_credit: 0.01}\npairs:", "a credit cost $0.0092"),
        ("pairs:", "budget: {max_credits: 60}\npairs:", "budget.max_credits was not set, now 60"),
        ("pairs:", "service: {contract: legacy}\npairs:", "the contract was canonical"),
        ("pairs:", "output: {filename: 'x-{{ id }}.mp4'}\npairs:", "x-j1.mp4"),
        ("name: batch", "name: other", "it plans the batch batch"),
    ],
)
def test_it_is_refused_when_what_it_rests_on_has_changed(call, service, planned, old, new, said):
    text = (planned / "m.yaml").read_text()
    (planned / "m.yaml").write_text(text.replace(old, new, 1))
    told = call("run", "plan.json", *FAST)
    assert told.code == 2
    assert said in told.err
    assert "plan.json is stale" in told.err
    assert "kling-batch plan m.yaml --out plan.json" in told.err
    assert bought(service) == 0


def test_the_very_first_plan_is_refused_once_there_is_a_state(call, service, planned):
    assert call("run", "m.yaml", "--yes", "--only", "j1", *FAST).code == 0
    told = call("run", "plan.json", *FAST)
    assert told.code == 2
    assert "the state has moved on: there was none" in told.err
    assert bought(service) == 1


def test_a_later_plan_is_refused_when_the_state_has_moved_on(call, service, planned):
    call("run", "m.yaml", "--yes", "--only", "j1", *FAST)
    assert call("plan", "m.yaml", "--out", "plan.json").code == 0
    call("run", "m.yaml", "--yes", *FAST)
    told = call("run", "plan.json", *FAST)
    assert told.code == 2
    assert "the state has moved on: it stood at" in told.err
    assert bought(service) == 2


def test_an_interrupted_run_of_it_is_gone_on_with_by_the_manifest(call, service, planned):
    stopped = call("run", "plan.json", "--max-credits", "60", *FAST)
    assert stopped.code == 4
    assert "kling-batch run m.yaml" in stopped.err
    assert call("run", "plan.json", *FAST).code == 2
    assert bought(service) == 1
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    assert bought(service) == 2


def test_it_is_refused_against_another_service(call, service, planned):
    told = call("run", "plan.json", "--base-url", "https://example.com")
    assert told.code == 2
    assert "it was made for http://127.0.0.1" in told.err


def test_its_bounds_and_its_choice_hold(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(3))
    call("plan", "m.yaml", "--only", "j[12]", "--max-credits", "70", "--out", "plan.json")
    assert call("run", "plan.json", "--max-credits", "500", *FAST).code == 4
    assert bought(service) == 1
    assert "saved plan" in call("run", "plan.json", "--only", "j3").err


def test_a_plan_from_another_folder_finds_its_manifest(call, service, tmp_path, monkeypatch):
    (tmp_path / "batches").mkdir()
    (tmp_path / "plans").mkdir()
    (tmp_path / "batches/m.yaml").write_text(jobs(1))
    assert call("plan", "batches/m.yaml", "--out", "plans/p.json").code == 0
    monkeypatch.chdir(tmp_path / "plans")
    assert call("run", "p.json", *FAST).code == 0
    assert bought(service) == 1


def test_a_simulated_plan_runs_on_the_simulator_alone(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    assert call("plan", "m.yaml", "--simulate", "--out", "plan.json").code == 0
    assert call("run", "plan.json").code == 0
    assert (tmp_path / "outputs/batch/simulated/j1.mp4").is_file()
    call("plan", "m.yaml", "--out", "plan.json")
    assert "--simulate" in call("run", "plan.json", "--simulate").err


def test_nothing_but_a_plan_is_written_over(call, planned):
    before = (planned / "m.yaml").read_text()
    told = call("plan", "m.yaml", "--out", "m.yaml")
    assert told.code == 2
    assert (planned / "m.yaml").read_text() == before
    assert call("plan", "m.yaml", "--out", "no/such/folder.json").code == 2
    assert call("plan", "m.yaml", "m.yaml", "--out", "p.json").code == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"credits": 60', '"credits": 6', "not as it was saved"),
        ("number 1", "number one", "not as it was saved"),
        ('"version": 1', '"version": 2', "has version 2"),
        ('"serial": 0', '"serial": -1', "not as it was saved"),
        ("]", "", "not as it was saved"),
    ],
)
def test_an_edited_or_broken_plan_is_refused(call, service, planned, old, new, said):
    text = (planned / "plan.json").read_text()
    (planned / "plan.json").write_text(text.replace(old, new, 1))
    told = call("run", "plan.json", *FAST)
    assert told.code == 2
    assert said in told.err
    assert bought(service) == 0


def test_a_manifest_in_braces_is_no_plan(call, service, tmp_path):
    text = (
        '{"version": 1, "name": "b", "pairs": [{"id": "j1", "image": "https://e.example.com/a.png",'
        ' "video": "https://e.example.com/v.mp4", "quality_mode": "720p", "duration_seconds": 5,'
        ' "prompt": "p"}]}'
    )
    (tmp_path / "m.json").write_text(text)
    assert call("run", "m.json", "--yes", *FAST).code == 0
