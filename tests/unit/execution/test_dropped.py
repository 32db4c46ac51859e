"""Jobs that were approved once, never submitted, and left the manifest, leave the state too."""

from __future__ import annotations

import pytest
from support.bench import Bench, jobs

from kling_batch.planning.plan import Wishes


@pytest.fixture
def stopped(folder):
    """Three jobs were approved; the budget stopped the run after the first."""
    bench = Bench(folder, jobs(3))
    bench.run(max_credits=60)
    assert bench.states() == {"j1": "downloaded", "j2": "planned", "j3": "planned"}
    return bench


def test_a_job_that_was_never_submitted_vanishes_with_its_line(stopped):
    stopped.write(jobs(2))
    stopped.run()
    assert stopped.states() == {"j1": "downloaded", "j2": "downloaded"}
    assert [one.detail for one in stopped.told("dropped")] == [{"jobs": 1}]


def test_what_a_choice_leaves_out_of_sight_is_left_alone(stopped):
    stopped.write(jobs(2))
    stopped.run(Wishes(only=("j2",)))
    assert stopped.states()["j3"] == "planned"


def test_what_was_paid_for_never_vanishes(stopped):
    stopped.write(jobs(3).replace("id: j1", "id: other").replace("number 1", "another"))
    stopped.run()
    assert stopped.states()["j1"] == "downloaded"
