"""Decisions on finished takes: a redo adds one take, and taking one back buys nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_batch.manifest.decisions import new_takes
from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.model import Manifest

HEAD = """\
version: 1
defaults: {quality_mode: 720p, duration_seconds: 5, prompt: "a turn"}
images: {knight: "https://cdn.example.com/knight.png"}
videos: {waltz: "https://cdn.example.com/waltz.mp4"}
pairs:
  - {id: hero, image: knight, video: waltz, takes: 2}
  - {image: knight, video: waltz}
"""


def load(decisions: str) -> Manifest:
    return load_manifest(Path("m.yaml"), text=f"{HEAD}decisions: {{{decisions}}}\n".encode())


@pytest.mark.parametrize(
    ("decisions", "added"),
    [
        ("hero: pick, hero.take2: reject", {}),
        ("hero: redo", {"hero.take3": "hero"}),
        ("hero.take2: redo", {"hero.take3": "hero.take2"}),
        ("hero: redo, hero.take2: redo", {"hero.take3": "hero", "hero.take4": "hero.take2"}),
        ("hero: redo, hero.take3: redo", {"hero.take3": "hero", "hero.take4": "hero.take3"}),
        ("hero: redo, hero.take3: pick", {"hero.take3": "hero"}),
        ("hero: reject, hero.take3: pick", {}),
        ("hero: reject, hero.take3: redo", {"hero.take4": "hero.take3"}),
        ("knight--waltz: redo", {"knight--waltz.take2": "knight--waltz"}),
    ],
)
def test_a_redo_adds_one_take_with_the_next_number(decisions, added):
    manifest = load(decisions)
    assert manifest.redone == added
    ids = [job.id for job in manifest.jobs]
    assert ids == ["hero", "hero.take2", "knight--waltz", *added]
    assert len({job.request for job in manifest.jobs}) == 1


def test_words_are_kept_for_status_and_page():
    assert load("hero: pick, hero.take2: reject").decisions == {
        "hero": "pick",
        "hero.take2": "reject",
    }


@pytest.mark.parametrize(
    ("decisions", "said", "hint"),
    [
        ("herro: pick", "no job has the id `herro`", "did you mean `hero`?"),
        ("herro.take2: redo", "no job has the id `herro.take2`", "did you mean `hero.take2`?"),
        ("hero.take1: redo", "no job has the id `hero.take1`", "did you mean `hero.take2`?"),
        ("hero: again", "expected `pick`, `reject` or `redo`", ""),
    ],
)
def test_a_decision_on_no_job_is_a_problem_with_the_nearest_id(decisions, said, hint):
    with pytest.raises(ManifestInvalid) as caught:
        load(decisions)
    [problem] = caught.value.problems
    assert said in problem.message
    assert problem.hint == hint
    assert (problem.line, problem.column) >= (8, 13)


def test_an_id_that_looks_like_a_take_and_is_a_pair_of_its_own_is_that_pair():
    text = HEAD.replace("takes: 2", "takes: 1").replace(
        "  - {image: knight", "  - {id: hero.take2, image: knight"
    )
    manifest = load_manifest(
        Path("m.yaml"), text=f"{text}decisions: {{hero.take2: redo}}\n".encode()
    )
    assert manifest.redone == {"hero.take2.take2": "hero.take2"}


@given(st.integers(1, 4), st.sets(st.integers(1, 8), min_size=1), st.data())
def test_to_take_a_redo_back_buys_nothing(last, redone, data):
    before = {take for take, _ in new_takes(last, redone)}
    gone = data.draw(st.sampled_from(sorted(redone)))
    after = {take for take, _ in new_takes(last, redone - {gone})}
    assert after <= before
    assert all(take > last for take in before)
    assert len(before) == len(redone)
