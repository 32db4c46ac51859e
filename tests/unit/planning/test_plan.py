"""The plan: an action and a reason for every job, whatever the state says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kling_batch.model import Job, JobRequest, Manifest
from kling_batch.planning.plan import Action, PlannedJob, Wishes, decide, plan_jobs, unmatched
from kling_batch.state.records import JobState, Record

REQUEST = JobRequest("a fox", "https://x/i.png", "https://x/v.mp4", "video", "720p", 5)
OTHER = replace(REQUEST, prompt="a hare")
S, A = JobState, Action
NOTHING_MORE = Wishes()


def job(name: str = "j1", request: JobRequest = REQUEST) -> Job:
    return Job(name, request, f"{name}.mp4", name, 1, "knight", "waltz")


def record(
    name: str = "j1", state: JobState = S.SUBMITTED, request: JobRequest = REQUEST, **more: object
) -> Record:
    return Record(
        id=name,
        fingerprint=request.fingerprint(),
        request=request,
        state=state,
        output=f"outputs/{name}.mp4",
        credits_planned=60,
        job_id=f"id-{name}",
        **more,  # type: ignore[arg-type]
    )


def plan(
    jobs: list[Job],
    records: list[Record],
    wishes: Wishes = NOTHING_MORE,
    absent: tuple[str, ...] = (),
) -> dict[str, PlannedJob]:
    manifest = Manifest("m", Path("m.yaml"), Path(), tuple(jobs), Path("outputs"))
    known = {one.id: one for one in records}
    return {one.id: one for one in plan_jobs(manifest, known, wishes, "outputs", absent)}


def actions(*args: object, **more: object) -> dict[str, Action]:
    return {name: one.action for name, one in plan(*args, **more).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "same", "changed"),
    [
        (S.PLANNED, A.SUBMIT, A.SUBMIT),
        (S.UNKNOWN, A.UNKNOWN, A.UNKNOWN),
        (S.SUBMITTED, A.RESUME, A.CHANGED),
        (S.PROCESSING, A.RESUME, A.CHANGED),
        (S.COMPLETED, A.DOWNLOAD, A.CHANGED),
        (S.DOWNLOADED, A.DONE, A.CHANGED),
        (S.FAILED, A.FAILED, A.SUBMIT),
        (S.REJECTED, A.FAILED, A.SUBMIT),
        (S.MISSING, A.RESUME, A.CHANGED),
    ],
)
def test_every_state_has_its_action(state: JobState, same: Action, changed: Action) -> None:
    known = record(state=state)
    for request, expected in ((REQUEST, same), (OTHER, changed)):
        action, reason = decide(job(request=request), known, Wishes())
        assert action is expected
        assert reason


def test_a_job_without_a_record_is_new() -> None:
    assert decide(job(), None, Wishes()) == (A.SUBMIT, "new")


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("wishes", [Wishes(), Wishes(retry_failed=True), Wishes(redo_changed=True)])
def test_what_was_paid_for_is_bought_again_only_when_it_is_there_and_asked_for(
    state: JobState, wishes: Wishes
) -> None:
    for request in (REQUEST, OTHER):
        action, _ = decide(job(request=request), record(state=state), wishes)
        if action is A.SUBMIT:
            made = state is S.DOWNLOADED and wishes.redo_changed and request is OTHER
            assert made or state in (S.PLANNED, S.FAILED, S.REJECTED)


def test_failures_are_tried_again_when_asked() -> None:
    known = [record("a", S.FAILED), record("b", S.REJECTED)]
    jobs = [job("a"), job("b")]
    assert actions(jobs, known) == {"a": A.FAILED, "b": A.FAILED}
    assert actions(jobs, known, Wishes(retry_failed=True)) == {"a": A.SUBMIT, "b": A.SUBMIT}
    assert actions(jobs, known, Wishes(retry_ids=("a",))) == {"a": A.SUBMIT}


def test_a_file_that_is_gone_is_fetched_again() -> None:
    planned = plan([job()], [record(state=S.DOWNLOADED)], absent=("j1",))["j1"]
    assert planned.action is A.DOWNLOAD
    assert "at no cost" in planned.reason


def test_what_changed_is_told() -> None:
    new = replace(REQUEST, prompt="a hare", quality_mode="1080p")
    planned = plan([job(request=new)], [record(state=S.DOWNLOADED)])["j1"]
    assert "prompt changed: “a fox” → “a hare”" in planned.reason
    assert "quality mode changed: “720p” → “1080p”" in planned.reason
    assert planned.credits == 100


def test_a_long_prompt_is_shown_where_it_changed() -> None:
    old = replace(REQUEST, prompt="x" * 300 + "fox" + "y" * 300)
    new = replace(REQUEST, prompt="x" * 300 + "hare" + "y" * 300)
    planned = plan([job(request=new)], [record(state=S.DOWNLOADED, request=old)])["j1"]
    assert "fox" in planned.reason
    assert "hare" in planned.reason
    assert len(planned.reason) < 200


@pytest.mark.parametrize("state", [S.UNKNOWN, S.SUBMITTED, S.COMPLETED, S.DOWNLOADED, S.MISSING])
def test_a_renamed_job_is_never_bought_again(state: JobState) -> None:
    planned = plan([job("new")], [record("old", state)])
    assert planned["new"].action is not A.SUBMIT
    assert planned["new"].renamed_from == "old"
    assert planned["old"].action is A.ORPHAN
    assert "renamed to new" in planned["old"].reason


@pytest.mark.parametrize("state", [S.PLANNED, S.FAILED, S.REJECTED])
def test_what_cost_nothing_is_not_taken_over(state: JobState) -> None:
    assert plan([job("new")], [record("old", state)])["new"].renamed_from is None


def test_one_record_serves_one_renamed_job() -> None:
    planned = plan([job("a"), job("b")], [record("old")])
    assert planned["a"].renamed_from == "old"
    assert (planned["b"].renamed_from, planned["b"].action) == (None, A.SUBMIT)


def test_a_job_still_in_the_manifest_is_not_taken_over() -> None:
    planned = plan([job("old"), job("new")], [record("old")])
    assert planned["new"].action is A.SUBMIT
    assert planned["old"].action is A.RESUME


def test_orphans_are_shown_and_never_touched() -> None:
    known = [record("gone", S.SUBMITTED, OTHER), record("never", S.PLANNED, OTHER)]
    planned = plan([job()], known)
    assert set(planned) == {"j1", "gone"}
    assert planned["gone"].action is A.ORPHAN
    assert not planned["gone"].follows


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (S.SUBMITTED, A.RESUME),
        (S.PROCESSING, A.RESUME),
        (S.MISSING, A.RESUME),
        (S.COMPLETED, A.DOWNLOAD),
        (S.DOWNLOADED, A.DONE),
        (S.FAILED, A.ORPHAN),
    ],
)
def test_extras_are_followed_like_what_was_asked_for(state: JobState, action: Action) -> None:
    known = [record(), record("j1.extra1", state, extra_of="j1")]
    assert plan([job()], known)["j1.extra1"].action is action


def test_an_extra_is_never_taken_for_a_renamed_job() -> None:
    planned = plan([job(), job("new")], [record(), record("j1.extra1", extra_of="j1")])
    assert planned["new"].action is A.SUBMIT


def test_only_the_chosen_are_planned() -> None:
    jobs = [job("a-1"), job("a-2", OTHER), job("b-1", replace(REQUEST, prompt="b"))]
    assert set(plan(jobs, [], Wishes(only=("a-*",)))) == {"a-1", "a-2"}
    everything = plan(jobs, []).values()
    assert unmatched(["a-*", "c*"], everything) == ["c*"]


def test_a_changed_job_in_flight_is_followed_and_a_made_one_is_not() -> None:
    for state, follows in ((S.SUBMITTED, True), (S.COMPLETED, True), (S.DOWNLOADED, False)):
        assert plan([job(request=OTHER)], [record(state=state)])["j1"].follows is follows
