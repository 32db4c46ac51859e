"""The main job from the outside: plan, run, status, retry, resolve, against a loopback service."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from support.bench import jobs

SCHEMAS = Path(__file__).parents[2] / "schemas"
FAST = ("--poll-interval", "0.05")


def schema(kind: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((SCHEMAS / f"{kind}.v1.schema.json").read_text()))


def test_plan_tells_price_and_actions_without_key_or_network(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    plan = call("plan", "m.yaml", "--json")
    assert plan.code == 0
    schema("plan").validate(plan.json)
    assert plan.json["totals"]["credits"] == 120
    assert plan.json["totals"]["usd"] == 1.104
    assert [job["action"] for job in plan.json["jobs"]] == ["submit", "submit"]
    assert plan.json["timetable"]["submissions_per_hour"] == 24
    assert not (tmp_path / ".kling-batch").exists()


def test_plan_check_says_by_its_code_whether_there_is_anything_to_do(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    assert call("plan", "m.yaml", "--check").code == 8
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    assert call("plan", "m.yaml", "--check").code == 0


def test_run_buys_each_job_once_and_the_second_run_nothing(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(3))
    first = call("run", "m.yaml", "--yes", *FAST)
    assert first.code == 0, first.err
    assert first.out == ""
    assert sorted(p.name for p in (tmp_path / "outputs/batch").glob("*.mp4")) == [
        "j1.mp4",
        "j2.mp4",
        "j3.mp4",
    ]
    second = call("run", "m.yaml", "--yes", *FAST)
    assert second.code == 0
    assert "nothing was bought" in second.err
    assert len(service.simulator.ledger) == 3


def test_run_json_writes_events_and_nothing_else_and_ends_with_the_summary(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2).replace("number 2", "number 2 [fail]"))
    told = call("run", "m.yaml", "--yes", "--json", *FAST)
    assert told.code == 1
    for event in told.events:
        schema("event").validate(event)
    last = told.events[-1]
    assert (last["event"], last["exit_code"]) == ("summary", 1)
    assert last["totals"]["by_state"]["downloaded"] == 1
    assert last["totals"]["credits_refunded"] == 60
    assert {event["event"] for event in told.events} >= {"submitted", "downloaded", "failed"}


def test_status_tells_every_job_and_the_balance(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2).replace("number 2", "number 2 [fail]"))
    call("run", "m.yaml", "--yes", *FAST)
    status = call("status", "m.yaml", "--json")
    assert status.code == 0
    schema("status").validate(status.json)
    by_id = {job["id"]: job for job in status.json["jobs"]}
    assert by_id["j1"]["state"] == "downloaded"
    assert Path(by_id["j1"]["output"]).is_file()
    assert by_id["j2"]["state"] == "failed"
    assert by_id["j2"]["credits_refunded"] == 60
    assert status.json["balance"]["credits"] == 10_000 - 120


def test_status_before_any_run_says_how_to_begin(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    told = call("status", "m.yaml")
    assert told.code == 0
    assert "kling-batch run m.yaml" in told.err
    assert call("status", "m.yaml", "--json").json["jobs"] == []


def test_retry_buys_only_what_failed(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2).replace("number 2", "number 2 [fail]"))
    call("run", "m.yaml", "--yes", *FAST)
    assert call("retry", "m.yaml", "--yes", *FAST).code == 1
    assert [charge.prompt for charge in service.simulator.ledger].count("number 1") == 1
    assert len(service.simulator.ledger) == 3
    refused = call("retry", "m.yaml", "j1", "--yes")
    assert refused.code == 2
    assert "did not fail" in refused.err


def test_only_takes_the_jobs_that_match(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(3))
    assert call("run", "m.yaml", "--yes", "--only", "j[12]", *FAST).code == 0
    assert len(service.simulator.ledger) == 2
    missed = call("run", "m.yaml", "--yes", "--only", "nothing*")
    assert missed.code == 2
    assert "nothing*" in missed.err


def test_without_a_terminal_nothing_is_bought_unless_approved(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    refused = call("run", "m.yaml")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert service.simulator.ledger == ()


@pytest.mark.parametrize("answer", ["y", "", "no", "YES", "yes please"])
def test_only_yes_is_yes(call, service, tmp_path, monkeypatch, answer):
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    (tmp_path / "m.yaml").write_text(jobs(1))
    monkeypatch.setattr("sys.stdin", Terminal(answer + "\n"))
    assert call("run", "m.yaml").code == 10
    assert service.simulator.ledger == ()
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert call("run", "m.yaml", *FAST).code == 0


def test_another_host_is_named_in_plan_and_run(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    assert service.server.url in call("plan", "m.yaml").out
    assert service.server.url in call("run", "m.yaml", "--yes", *FAST).err


@pytest.mark.parametrize(
    "address",
    ["http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:x", "ftp://e.org", "e.org"],
)
def test_what_is_no_address_is_told_in_two_lines(call, tmp_path, address):
    (tmp_path / "m.yaml").write_text(jobs(1))
    told = call("run", "m.yaml", "--yes", "--base-url", address)
    assert told.code == 2
    assert "--base-url is no address of a service" in told.err


def test_no_key_ends_with_5_before_anything_else(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    told = call("run", "m.yaml", "--yes")
    assert told.code == 5
    assert "ULAZAI_API_KEY" in told.err
    assert not (tmp_path / ".kling-batch").exists()


def test_the_key_is_read_from_a_file_beside_the_manifest(call, service, tmp_path, monkeypatch):
    monkeypatch.delenv("ULAZAI_API_KEY")
    (tmp_path / ".env").write_text('ULAZAI_API_KEY="ulazai_live_test"\n')
    (tmp_path / "m.yaml").write_text(jobs(1))
    assert call("run", "m.yaml", "--yes", *FAST).code == 0


def test_a_key_file_that_is_no_text_ends_with_5_in_two_lines(call, tmp_path):
    (tmp_path / ".env").write_bytes(b"ULAZAI_API_KEY=\xff\xfe\n")
    (tmp_path / "m.yaml").write_text(jobs(1))
    for words in (("run", "m.yaml", "--yes"), ("plan", "m.yaml")):
        told = call(*words)
        assert told.code == (5 if words[0] == "run" else 0)
    assert ".env can't be read as text" in call("run", "m.yaml", "--yes").err


def test_a_refused_key_ends_with_5_and_nothing_bought(call, service, tmp_path, monkeypatch):
    monkeypatch.setenv("ULAZAI_API_KEY", "wrong")
    (tmp_path / "m.yaml").write_text(jobs(1))
    told = call("run", "m.yaml", "--yes", *FAST)
    assert told.code == 5
    assert "wrong" not in told.err + told.out
    assert service.simulator.ledger == ()


def test_the_budget_ends_with_4_and_the_command_that_goes_on(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(3))
    told = call("run", "m.yaml", "--yes", "--max-credits", "130", *FAST)
    assert told.code == 4
    assert "kling-batch run m.yaml" in told.err
    assert len(service.simulator.ledger) == 2
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    assert len(service.simulator.ledger) == 3


def test_a_state_of_another_manifest_is_refused_with_9(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    call("run", "m.yaml", "--yes", *FAST)
    (tmp_path / "other.yaml").write_text(jobs(1))
    told = call("run", "other.yaml", "--yes", *FAST)
    assert told.code == 9
    assert "m.yaml" in told.err
    assert len(service.simulator.ledger) == 1


def test_a_renamed_manifest_keeps_its_state(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    call("run", "m.yaml", "--yes", *FAST)
    (tmp_path / "m.yaml").rename(tmp_path / "better.yaml")
    assert call("run", "better.yaml", "--yes", *FAST).code == 0
    assert len(service.simulator.ledger) == 1


def test_a_renamed_job_is_taken_over_and_not_bought_again(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    call("run", "m.yaml", "--yes", *FAST)
    (tmp_path / "m.yaml").write_text(jobs(2).replace("id: j1", "id: hero"))
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    assert len(service.simulator.ledger) == 2


def test_simulate_needs_no_key_and_keeps_its_state_and_videos_apart(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    told = call("run", "m.yaml", "--simulate", "--yes")
    assert told.code == 0, told.err
    assert (tmp_path / "outputs/batch/simulated/j1.mp4").read_bytes()[4:8] == b"ftyp"
    assert call("plan", "m.yaml", "--json").json["totals"]["credits"] == 120
    assert call("plan", "m.yaml", "--json", "--simulate").json["totals"]["credits"] == 0
    assert call("status", "m.yaml", "--simulate", "--json").json["jobs"][0]["state"] == "downloaded"


def test_init_writes_a_manifest_that_is_valid_and_never_over_a_file(call, tmp_path):
    assert call("init", "new").code == 0
    assert call("validate", "new/manifest.yaml").code == 0
    text = (tmp_path / "new/manifest.yaml").read_text()
    assert call("init", "new").code == 2
    assert (tmp_path / "new/manifest.yaml").read_text() == text
    assert ".env" in (tmp_path / "new/.gitignore").read_text().split()


@pytest.mark.parametrize("kind", ["manifest", "plan", "status", "event", "saved-plan", "change"])
def test_every_schema_is_printed_and_is_a_schema(call, kind):
    told = call("schema", "--kind", kind)
    jsonschema.Draft7Validator.check_schema(told.json)


def test_validate_json_shows_every_problem_of_every_file(call, tmp_path):
    (tmp_path / "good.yaml").write_text(jobs(2))
    (tmp_path / "bad.yaml").write_text(jobs(2).replace("720p", "4k"))
    told = call("validate", "good.yaml", "bad.yaml", "missing.yaml", "--json")
    assert told.code == 2
    assert (told.json["valid"], told.json["jobs"]) == (False, 2)
    assert [set(problem) for problem in told.json["problems"]] == [
        {"file", "line", "column", "path", "message", "hint"}
    ] * 2
    assert [problem["file"] for problem in told.json["problems"]] == ["bad.yaml", "missing.yaml"]


def test_an_unexpected_error_is_one_line_and_a_log_without_the_key(call, tmp_path, monkeypatch):
    monkeypatch.setenv("ULAZAI_API_KEY", "ulazai_live_secret")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("with ulazai_live_secret in it")

    monkeypatch.setattr("kling_batch.cli.schema.command", broken)
    told = call("schema")
    assert told.code == 70
    log = told.err.split("the trace is in ")[1].split(".log")[0] + ".log"
    text = Path(log).read_text()
    Path(log).unlink()
    assert "RuntimeError" in text
    assert "ulazai_live_secret" not in text


def test_an_interrupted_simulated_batch_is_resumed_like_a_real_one(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    assert call("run", "m.yaml", "--simulate", "--yes", "--no-wait").code == 0
    resumed = call("run", "m.yaml", "--simulate", "--yes")
    assert resumed.code == 0, resumed.err
    (tmp_path / "m.yaml").write_text(jobs(3))
    assert call("run", "m.yaml", "--simulate", "--yes").code == 0
    states = [job["state"] for job in call("status", "m.yaml", "--simulate", "--json").json["jobs"]]
    assert states == ["downloaded"] * 3
