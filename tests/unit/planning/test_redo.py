"""A redo is bought once, whatever becomes of the decision afterwards."""

from __future__ import annotations

import pytest
from support.bench import HEAD, Bench


def text(decisions: str = "") -> str:
    words = f"decisions: {{{decisions}}}\n" if decisions else ""
    return f"{HEAD}{words}pairs:\n  - {{id: hero, image: knight, video: waltz}}\n"


@pytest.fixture
def redone(folder):
    """One job was made, then redone."""
    bench = Bench(folder, text())
    bench.run()
    bench.write(text("hero: redo"))
    bench.run()
    assert bench.states() == {"hero": "downloaded", "hero.take2": "downloaded"}
    assert len(bench.simulator.ledger) == 2
    return bench


def test_a_redo_is_planned_with_its_reason(folder):
    bench = Bench(folder, text())
    bench.run()
    bench.write(text("hero: redo"))
    assert bench.actions() == {"hero": "done", "hero.take2": "submit"}
    assert bench.planned("hero.take2").reason == "a new take: hero is to be redone"


@pytest.mark.parametrize(
    "decisions",
    ["hero: redo", "hero: redo, hero.take2: pick", "hero: reject, hero.take2: pick", ""],
)
def test_it_is_not_bought_again(redone, decisions):
    redone.write(text(decisions))
    redone.run()
    assert len(redone.simulator.ledger) == 2
    assert redone.states()["hero.take2"] == "downloaded"


def test_a_redo_of_the_new_take_is_one_more_and_no_rename_of_it(redone):
    redone.write(text("hero: reject, hero.take2: redo"))
    assert redone.actions() == {"hero": "done", "hero.take3": "submit", "hero.take2": "orphan"}
    assert redone.planned("hero.take2").reason == "a take of an earlier redo (redo); kept"
    redone.run()
    assert len(redone.simulator.ledger) == 3
