"""Manifests edited between and during runs (row 29): nothing is resent, all stays in sight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, jobs
from support.money import assert_bought_once, assert_finishes, resolve

from kling_batch.errors import ExitCode
from kling_batch.planning.plan import Wishes


def in_flight(folder: Path, count: int = 3, **simulator: Any) -> Bench:
    """A batch that is submitted and not yet made."""
    bench = Bench(folder, jobs(count), **simulator)
    bench.run(wait=False)
    assert set(bench.states().values()) == {"submitted"}
    return bench


def test_a_prompt_changed_in_flight_is_not_sent_again(folder: Path) -> None:
    bench = in_flight(folder)
    bench.write(jobs(3).replace("number 2", "another"))
    assert bench.actions() == {"j1": "resume", "j2": "changed", "j3": "resume"}
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 3
    assert bench.actions()["j2"] == "changed"
    assert bench.states()["j2"] == "downloaded"
    bench.write(jobs(3))
    assert_finishes(bench, 3)


def test_a_change_is_made_when_asked_for(folder: Path) -> None:
    bench = in_flight(folder)
    bench.run()
    bench.write(jobs(3).replace("number 2", "another"))
    assert bench.run(Wishes(redo_changed=True)).exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 4
    assert len(list((folder / "outputs/batch").glob("*.mp4"))) == 4


def test_a_job_taken_out_is_an_orphan_and_found_again_when_put_back(folder: Path) -> None:
    bench = in_flight(folder)
    bench.write(jobs(2))
    assert bench.actions() == {"j1": "resume", "j2": "resume", "j3": "orphan"}
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.states()["j3"] == "submitted"
    bench.write(jobs(3))
    assert_finishes(bench, 3)


def test_a_renamed_job_is_the_same_job(folder: Path) -> None:
    bench = in_flight(folder)
    bench.write(jobs(3).replace("id: j2", "id: better"))
    assert bench.actions() == {"j1": "resume", "better": "resume", "j3": "resume", "j2": "orphan"}
    assert bench.run().exit_code is ExitCode.DONE
    assert set(bench.states()) == {"j1", "better", "j3"}
    assert (folder / "outputs/batch/better.mp4").exists()
    assert_finishes(bench, 3)


def test_all_jobs_renamed_at_once_are_all_the_same_jobs(folder: Path) -> None:
    bench = in_flight(folder)
    bench.write(jobs(3).replace("id: j", "id: k"))
    assert_finishes(bench, 3)
    assert set(bench.states()) == {"k1", "k2", "k3"}


def test_ids_that_change_places_buy_nothing(folder: Path) -> None:
    bench = in_flight(folder, 2)
    swapped = jobs(2).replace("j1", "tmp").replace("id: j2", "id: j1").replace("tmp", "j2")
    bench.write(swapped)
    assert bench.actions() == {"j2": "changed", "j1": "changed"}
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 2
    assert_bought_once(bench, 2)


def test_a_renamed_job_with_extras_keeps_them(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[{"on": "submit", "nth": 1, "do": {"job_ids": 2}}])
    bench.run(wait=False)
    bench.write(jobs(2).replace("id: j1", "id: k1"))
    assert_finishes(bench, 2)
    assert {r.id: r.extra_of for r in bench.records().values() if r.extra_of} == {"j1.extra1": "k1"}


def undecided(folder: Path, act: str = "after") -> Bench:
    faults = {
        "history": {"absent": True},
        "rules": [{"on": "submit", "nth": 2, "do": "reset", "act": act}],
    }
    bench = Bench(folder, jobs(3), faults=faults)
    assert bench.run().exit_code is ExitCode.OUTCOME_UNKNOWN
    return bench


@pytest.mark.parametrize("edit", ["changed", "renamed", "removed", "renamed and back"])
def test_an_unknown_submission_is_never_sent_again_whatever_is_edited(
    folder: Path, edit: str
) -> None:
    bench = undecided(folder)
    text = {
        "changed": jobs(3).replace("number 2", "another"),
        "renamed": jobs(3).replace("id: j2", "id: k2"),
        "removed": jobs(3).replace("  - {id: j2", "  #- {id: j2"),
        "renamed and back": jobs(3).replace("id: j2", "id: k2"),
    }[edit]
    bench.write(text)
    bench.run()
    if edit == "renamed and back":
        bench.write(jobs(3))
        bench.run()
    assert bench.simulator.requests["POST", "generate"] == 3
    assert_bought_once(bench, 3)


def test_a_submission_that_was_not_made_is_not_made_as_the_manifest_now_has_it(
    folder: Path,
) -> None:
    """The new request was not approved: the price may be another."""
    bench = undecided(folder, "before")
    bench.simulator.script(_plain_history())
    bench.write(jobs(3).replace("number 2", "dearer"))
    assert bench.run().exit_code is ExitCode.STOPPED
    assert bench.states()["j2"] == "planned"
    assert bench.simulator.requests["POST", "generate"] == 3
    assert bench.actions()["j2"] == "submit"
    assert_finishes(bench, 3)


def _plain_history() -> Any:
    from kling_batch.simulator.faults import FaultScript

    return FaultScript.read({"history": {"lag": 0}, "rules": []})


def test_a_renamed_unknown_job_can_be_resolved(folder: Path) -> None:
    bench = undecided(folder)
    bench.write(jobs(3).replace("id: j2", "id: k2"))
    bench.run()
    resolve(bench, "k2", job_id=bench.simulator.ledger[1].job_id)
    assert_finishes(bench, 3)


def test_a_changed_output_moves_no_file_and_buys_nothing(folder: Path) -> None:
    bench = in_flight(folder)
    bench.run()
    bench.write(jobs(3).replace("pairs:", "output: {filename: 'x-{{ id }}.mp4'}\npairs:"))
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.simulator.requests["POST", "generate"] == 3


def test_only_some_jobs_leaves_the_others_alone(folder: Path) -> None:
    bench = Bench(folder, jobs(3))
    assert bench.run(Wishes(only=("j2",))).exit_code is ExitCode.DONE
    assert bench.states() == {"j2": "downloaded"}
    assert_finishes(bench, 3)


def test_a_job_that_failed_and_was_edited_is_bought_as_it_is_now(folder: Path) -> None:
    bench = Bench(folder, jobs(1).replace("number 1", "number 1 [fail]"))
    assert bench.run().exit_code is ExitCode.JOBS_FAILED
    bench.write(jobs(1))
    assert bench.actions() == {"j1": "submit"}
    assert bench.run().exit_code is ExitCode.DONE
    assert len(bench.simulator.ledger) == 2
