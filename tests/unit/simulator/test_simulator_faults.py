"""Fault scripts: what is understood, and how what is not is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kling_batch.errors import UsageError
from kling_batch.simulator.account import HistoryMode
from kling_batch.simulator.actions import ACTIONS
from kling_batch.simulator.faults import Call, FaultScript, firing
from kling_batch.simulator.jobs import Stage
from kling_batch.simulator.routes import Route

EXAMPLE = """
service: {balance: 100, submissions_per_hour: null, job_seconds: 2.5, key: ulazai_live_x}
history: {lag: 5, prompts: false}
rules:
  - {on: submit, nth: 2, act: after, do: {respond: {status: 502, body: "<h1>Bad</h1>"}}}
  - on: [result, history]
    do: reset
"""


def test_a_file_states_service_history_and_rules(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(EXAMPLE)
    script = FaultScript.load(file)
    assert script.history == HistoryMode(lag=5, prompts=False)
    assert script.settings.over("balance", 10_000) == 100
    assert script.settings.over("seed", 7) == 7
    first, second = script.rules
    assert first.routes == {Route.GENERATE, Route.LEGACY_GENERATE}
    assert first.effect.instead is not None
    assert (first.effect.instead.status, first.effect.before) == (502, False)
    assert second.routes == {Route.RESULT, Route.HISTORY}
    assert second.effect.delivery.reset
    assert second.effect.before


def test_json_is_read_too_and_an_empty_file_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('[{"on": "any", "do": "reset"}]')
    assert len(FaultScript.load(file).rules) == 1
    file.write_text("")
    assert FaultScript.load(file) == FaultScript()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text", "must be a mapping of service, history, rules"),
        ({"rule": []}, "unknown key 'rule'; one of service, history, rules"),
        ({"rules": 3}, "rules: must be a list"),
        ([3], "rule 1: must be a mapping"),
        ([{"on": "any", "do": "reset"}, {"do": "reset"}], "rule 2: on is required"),
        ([{"on": "any"}], "rule 1: do is required"),
        ([{"on": "generat", "do": "reset"}], "on: unknown route 'generat'; one of any, submit"),
        ([{"on": "any", "do": "resett"}], "do: unknown key 'resett'; one of respond"),
        ([{"on": "any", "do": {"reset": False}}], "do: reset: takes no value"),
        ([{"on": "any", "do": {"cut": -1}}], "do: cut: must be a whole number from 0"),
        ([{"on": "any", "do": {"delay": "1"}}], "do: delay: must be a number of seconds"),
        ([{"on": "any", "do": {"drip": 3}}], "do: drip: must be a mapping of bytes and every"),
        ([{"on": "any", "do": {"respond": {}}}], "do: respond: status"),
        ([{"on": "any", "do": {"respond": {"status": 200, "body": 3}}}], "respond: body"),
        (
            [{"on": "any", "do": {"respond": {"status": 200, "headers": {"a": "b\r\nc: d"}}}}],
            "headers: must hold no control characters",
        ),
        ([{"on": "result", "do": "stuck"}], "stuck has no effect there, only on generate"),
        ([{"on": "submit", "do": "stuck", "act": "before"}], "stuck needs the service's work"),
        ([{"on": "any", "do": {"delay": 1}, "act": "before"}], "act: before needs an answer"),
        ([{"on": "any", "do": "reset", "act": "later"}], "act: must be before or after"),
        ([{"on": "any", "do": "reset", "nth": 0}], "nth: must be a number from 1"),
        ([{"on": "any", "do": "reset", "nth": True}], "nth: must be a number from 1"),
        ([{"on": "any", "do": "reset", "match": 3}], "match: must be a string"),
        ([{"on": "any", "do": "reset", "when": "done"}], "when: must be one of pending"),
        ({"history": {"lags": 3}}, "history: unknown key 'lags'"),
        ({"history": {"lag": -1}}, "history: lag: -1 does not fit"),
        ({"service": {"balance": "many"}}, "service: balance: 'many' does not fit"),
    ],
    ids=str,
)
def test_a_mistake_is_told_with_its_place(content: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        FaultScript.read(content, "faults.yaml")
    assert caught.value.message.startswith("faults.yaml: ")
    assert told in caught.value.message


@pytest.mark.parametrize("text", ["a: [", "\x00", "!!python/object:os.system {}"])
def test_a_file_that_is_no_yaml_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"faults\.yaml"):
        FaultScript.load(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        FaultScript.load(tmp_path / "none.yaml")


def calls_fired(rules: list[dict[str, Any]], calls: list[Call]) -> list[bool]:
    script = FaultScript.read(rules)
    counts = [0] * len(script.rules)
    return [firing(script.rules, counts, call) is not None for call in calls]


@pytest.mark.parametrize(
    ("nth", "fired"),
    [
        (2, [False, True, False, False]),
        ([1, 4], [True, False, False, True]),
        ("3+", [False, False, True, True]),
        ("every", [True] * 4),
    ],
    ids=str,
)
def test_a_rule_fires_on_the_calls_it_names(nth: Any, fired: list[bool]) -> None:
    rules = [{"on": "history", "do": "reset", "nth": nth}]
    assert calls_fired(rules, [Call(Route.HISTORY)] * 4) == fired


def test_only_matching_calls_are_counted() -> None:
    rules = [{"on": "status", "do": "reset", "nth": 2, "match": "fox", "when": "completed"}]
    fox, owl = ("id-1", "a fox"), ("id-2", "an owl")
    calls = [
        Call(Route.STATUS, fox, Stage.PENDING),
        Call(Route.STATUS, fox, Stage.COMPLETED),
        Call(Route.STATUS, owl, Stage.COMPLETED),
        Call(Route.RESULT, fox, Stage.COMPLETED),
        Call(Route.STATUS, fox, Stage.COMPLETED),
    ]
    assert calls_fired(rules, calls) == [False, False, False, False, True]


def test_the_first_rule_that_fires_decides_and_the_others_count_on() -> None:
    script = FaultScript.read(
        [
            {"on": "any", "do": "reset", "nth": 1},
            {"on": "any", "do": {"respond": {"status": 500}}, "nth": [1, 2]},
        ]
    )
    counts = [0, 0]
    first, second = (firing(script.rules, counts, Call(Route.MODELS)) for _ in range(2))
    assert first is not None
    assert first.delivery.reset
    assert first.instead is None
    assert second is not None
    assert second.instead is not None


def test_the_stand_ins_own_books_are_never_at_fault() -> None:
    rules = [{"on": "any", "do": "reset"}]
    assert calls_fired(rules, [Call(Route.LEDGER), Call(Route.TOP_UP)]) == [False, False]


def test_every_action_is_listed_where_writers_of_scripts_look() -> None:
    from kling_batch.simulator import actions

    assert actions.__doc__ is not None
    assert [name for name in ACTIONS if name not in actions.__doc__] == []
