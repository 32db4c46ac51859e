"""The plan from the outside: reasons, times, what it warns of, and several manifests at once."""

from __future__ import annotations

import io
import json
import re
import time

import pytest
from support.bench import HEAD, jobs
from support.schemas import validator

FAST = ("--poll-interval", "0.05")


@pytest.fixture
def made(call, service, tmp_path):
    """Two jobs, made."""
    (tmp_path / "m.yaml").write_text(jobs(2))
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    return tmp_path


def test_the_hourly_limit_is_a_sentence_with_its_times(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(60))
    told = call("plan", "m.yaml")
    clock = r"(?:\w{3} \d\d \w{3} )?\d\d:\d\d"
    assert re.search(
        rf"^60 jobs at 24/1h: 24 now, 24 at {clock}, 12 at {clock}; done by about {clock}$",
        told.out,
        re.MULTILINE,
    )
    value = call("plan", "m.yaml", "--json").json
    validator("plan").validate(value)
    assert [wave["jobs"] for wave in value["timetable"]["waves"]] == [24, 24, 12]


def test_a_change_says_what_and_how_to_have_it(call, made):
    (made / "m.yaml").write_text(jobs(2).replace("number 2", "number two"))
    reasons = {job["id"]: job["reason"] for job in call("plan", "m.yaml", "--json").json["jobs"]}
    assert reasons["j2"] == (
        "prompt changed: “number 2” → “number two”; kept unless --redo-changed"
    )
    assert call("plan", "m.yaml", "--check").code == 0
    redo = call("plan", "m.yaml", "--redo-changed", "--check")
    assert redo.code == 8
    assert "made again: prompt changed" in redo.out
    assert "kling-batch run m.yaml --redo-changed" in redo.out


def test_redo_changed_makes_again_just_what_changed(call, service, made):
    (made / "m.yaml").write_text(jobs(2).replace("number 2", "number two"))
    assert call("run", "m.yaml", "--yes", "--redo-changed", *FAST).code == 0
    prompts = [charge.prompt for charge in service.simulator.ledger]
    assert prompts == ["number 1", "number 2", "number two"]
    assert call("plan", "m.yaml", "--redo-changed", "--check").code == 0


@pytest.mark.parametrize(
    ("globs", "ids"),
    [
        (["j1"], ["j1"]),
        (["j[12]"], ["j1", "j2"]),
        (["*1", "j3"], ["j1", "j3", "j11"]),
        (["J1", "j2"], None),
        (["*"], ["j1", "j2", "j3", "j11"]),
    ],
)
def test_only_takes_globs_over_ids(call, tmp_path, globs, ids):
    text = jobs(3) + "  - {id: j11, image: knight, video: waltz}\n"
    (tmp_path / "m.yaml").write_text(text)
    words = [word for glob in globs for word in ("--only", glob)]
    told = call("plan", "m.yaml", "--json", *words)
    if ids is None:
        assert told.code == 2
        assert "--only J1 matches no job" in told.err
    else:
        assert [job["id"] for job in told.json["jobs"]] == ids


def test_the_balance_last_seen_says_how_far_it_reaches(call, service, made):
    (made / "m.yaml").write_text(jobs(200, "budget: {min_balance: 100}\n"))
    told = call("plan", "m.yaml")
    assert re.search(
        r"warning: the balance last seen, 9,880 credits at \d\d:\d\d \(100 are to be kept\),"
        r" pays for 163 of 198 jobs",
        told.out,
    )


def test_another_address_than_the_state_was_made_against_is_warned_of(call, service, made):
    told = call("plan", "m.yaml", "--base-url", "https://example.com")
    assert f"this state was made against {service.server.url}" in told.out
    assert "made against" not in call("plan", "m.yaml").out


def test_old_rates_are_warned_of(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1, "pricing: {as_of: 2020-01-01}\n"))
    assert "the rates are of 2020-01-01" in call("plan", "m.yaml").out
    today = time.strftime("%Y-%m-%d")
    (tmp_path / "m.yaml").write_text(jobs(1, f"pricing: {{as_of: {today}}}\n"))
    assert "the rates are" not in call("plan", "m.yaml").out


def test_what_is_in_flight_and_no_longer_in_the_manifest_is_warned_of(call, service, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    assert call("run", "m.yaml", "--yes", "--no-wait").code == 0
    (tmp_path / "m.yaml").write_text(jobs(1))
    assert "j2 in flight, but no longer in the manifest" in call("plan", "m.yaml").out


def test_several_manifests_are_several_plans_with_one_sum(call, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(jobs(2).replace("name: batch", f"name: {name}"))
    told = call("plan", "a.yaml", "b.yaml")
    assert "In all 2 manifests: 240 credits (about $2.21)" in told.out
    assert "kling-batch run a.yaml b.yaml" in told.out
    assert [one["name"] for one in call("plan", "a.yaml", "b.yaml", "--json").json] == ["a", "b"]
    assert [one["name"] for one in call("status", "a.yaml", "b.yaml", "--json").json] == ["a", "b"]


def test_run_takes_several_in_order_and_stops_at_the_first_that_does(call, service, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(jobs(1).replace("name: batch", f"name: {name}"))
    stopping = jobs(2, "budget: {max_credits: 60}\n").replace("name: batch", "name: b")
    (tmp_path / "b.yaml").write_text(stopping)
    told = call("run", "a.yaml", "b.yaml", "c.yaml", "--yes", *FAST)
    assert told.code == 4
    assert "Not begun: kling-batch run c.yaml" in told.err
    assert len(service.simulator.ledger) == 2


def test_run_of_several_buys_nothing_while_one_is_invalid(call, service, tmp_path):
    (tmp_path / "a.yaml").write_text(jobs(1))
    (tmp_path / "b.yaml").write_text("version: 1\n")
    assert call("run", "a.yaml", "b.yaml", "--yes", *FAST).code == 2
    assert call("run", "a.yaml", "a.yaml", "--yes", "--max-credits", "100").code == 2
    assert service.simulator.ledger == ()


def test_a_manifest_from_stdin_is_checked_planned_and_run(call, service, tmp_path, monkeypatch):
    def given() -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(jobs(1).encode())))

    given()
    assert call("validate", "-").code == 0
    given()
    assert call("plan", "-", "--json").json["totals"]["credits"] == 60
    given()
    assert call("plan", "-", "--out", "p.json").code == 2
    given()
    assert call("run", "-", "--yes", *FAST).code == 0
    assert (tmp_path / "outputs/batch/j1.mp4").is_file()


def test_validate_speaks_to_github_and_to_programs(call, tmp_path):
    (tmp_path / "m.yaml").write_text(HEAD + "pairs: [{image: knigt, video: waltz}]\n")
    told = call("validate", "m.yaml", "--format", "github")
    assert told.code == 2
    assert told.out.startswith("::error file=m.yaml,line=6,col=17::")
    assert call("validate", "m.yaml", "--format", "json").json == json.loads(
        call("validate", "m.yaml", "--json").out
    )
