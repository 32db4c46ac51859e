"""Decisions on takes from the outside: planned, asked for, shown."""

from __future__ import annotations

from support.bench import HEAD
from support.schemas import validator

FAST = ("--poll-interval", "0.05")
PAIR = "pairs:\n  - {id: hero, image: knight, video: waltz, takes: 2}\n"


def test_decisions_are_shown_by_status_and_a_redo_is_bought_once(call, service, tmp_path):
    manifest = tmp_path / "m.yaml"
    manifest.write_text(HEAD + PAIR)
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    manifest.write_text(f"{HEAD}decisions: {{hero: redo, hero.take2: pick}}\n{PAIR}")
    plan = call("plan", "m.yaml", "--json").json
    assert plan["totals"]["by_action"]["submit"] == {"jobs": 1, "credits": 60}
    assert call("run", "m.yaml").code == 2  # there is nobody to ask
    for _ in range(2):
        assert call("run", "m.yaml", "--yes", *FAST).code == 0
    assert len(service.simulator.ledger) == 3
    status = call("status", "m.yaml", "--json").json
    validator("status").validate(status)
    assert {job["id"]: job["decision"] for job in status["jobs"]} == {
        "hero": "redo",
        "hero.take2": "pick",
        "hero.take3": None,
    }
    assert "hero.take2  pick" in call("status", "m.yaml").out


def test_status_shows_a_state_whose_manifest_is_broken(call, service, tmp_path):
    manifest = tmp_path / "m.yaml"
    manifest.write_text(HEAD + PAIR)
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    manifest.write_text(f"{HEAD}decisions: [hero]\n{PAIR}")
    told = call("status", "m.yaml")
    assert told.code == 0
    assert "120 credits charged, as planned" in told.out
