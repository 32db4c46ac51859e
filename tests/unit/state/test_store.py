"""The state file: what is written is there, whole and durable, or not at all."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kling_batch.model import JobRequest
from kling_batch.state.opening import Identity, reading, state_path, writing
from kling_batch.state.records import LEGAL, IllegalTransition, JobState, Record, moved
from kling_batch.state.store import Attempt, Happening, StateNotWritten, Store

REQUEST = JobRequest("a fox", "https://x/i.png", "https://x/v.mp4", "video", "720p", 5)
S = JobState


def record(job: str = "j1", state: JobState = S.PLANNED, **changes: object) -> Record:
    return Record(
        id=job,
        fingerprint=REQUEST.fingerprint(),
        request=REQUEST,
        state=state,
        output=f"outputs/{job}.mp4",
        credits_planned=60,
        **changes,  # type: ignore[arg-type]
    )


def attempt(name: str, job: str = "j1") -> Attempt:
    return Attempt(name, job, REQUEST.fingerprint(), 1.0, balance_before=100)


TOLD = Happening(1.0, "told", "j1", {"why": "ünïcode \x00 and more"})


@pytest.fixture
def path(folder: Path) -> Path:
    return state_path(folder, "batch")


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with writing(path, Identity("batch", "batch.yaml"), 0.0) as store:
        yield store


# -- the file --------------------------------------------------------------------------------------


def test_a_commit_is_durable_when_it_returns(store: Store) -> None:
    pragma = {
        name: store.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    assert pragma == {"journal_mode": "wal", "synchronous": 2}


def test_the_file_and_its_folder_are_private(path: Path, store: Store) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "*" in (path.parent / ".gitignore").read_text()


def test_nothing_but_the_state_is_left_after_a_clean_close(path: Path) -> None:
    with writing(path, Identity("batch", "batch.yaml"), 0.0) as store:
        store.save([record()], [TOLD])
    names = {one.name for one in path.parent.iterdir()}
    assert names <= {"batch.db", "batch.lock", ".gitignore"}


def test_a_reader_does_not_block_a_writer(path: Path, store: Store) -> None:
    with reading(path) as reader:
        assert reader is not None
        assert reader.records() == {}
        store.save([record()], [TOLD])
        assert set(reader.records()) == {"j1"}


def test_no_state_is_no_state(folder: Path) -> None:
    with reading(state_path(folder, "batch")) as store:
        assert store is None
    assert list(folder.iterdir()) == []


def test_simulated_states_stay_apart(folder: Path) -> None:
    assert state_path(folder, "batch") != state_path(folder, "batch", simulated=True)


# -- what is kept ----------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    full = record(
        "j2",
        S.DOWNLOADED,
        pair="p",
        take=2,
        image="knight",
        video="waltz",
        job_id="f00",
        attempts=3,
        credits_charged=60,
        credits_refunded=0,
        credits_spent=120,
        error="é",
        result_url="https://x/r.mp4?signature=1",
        sha256="0" * 64,
        size=2**40,
        submitted_at=1.5,
        finished_at=2.5,
        extra_of="j1",
    )
    store.save([record(), full], [TOLD])
    assert list(store.records().values()) == [record(), full]
    # For a plan, without its inputs and its result; a request that is known is not read again.
    left_out = {"pair": "", "take": 1, "image": "", "video": ""}
    lean = replace(full, **left_out, result_url=None, sha256=None, size=None)
    assert list(store.outlines({}).values()) == [record(), lean]
    twin = replace(REQUEST)
    assert store.outlines({REQUEST.fingerprint(): twin})["j2"].request is twin


def test_the_order_of_approval_stays(store: Store) -> None:
    store.save([record("b"), record("a")], [TOLD])
    store.save([record("b", S.UNKNOWN), record("c")], [TOLD])
    assert list(store.records()) == ["b", "a", "c"]


def test_every_change_moves_the_serial(store: Store) -> None:
    serials = [store.serial()]
    store.save([record()], [TOLD])
    serials.append(store.serial())
    store.intend(record(state=S.UNKNOWN), attempt("a"), TOLD)
    serials.append(store.serial())
    store.settle(replace(attempt("a"), verdict="accepted"), [record(state=S.SUBMITTED)], [TOLD])
    serials.append(store.serial())
    store.rename({"j1": "k1"}, [TOLD])
    serials.append(store.serial())
    assert serials == sorted(set(serials))


def test_an_intent_without_an_answer_is_found(path: Path) -> None:
    with writing(path, Identity("batch", "batch.yaml"), 0.0) as store:
        store.intend(record(state=S.UNKNOWN), attempt("a"), TOLD)
    with reading(path) as again:
        assert again is not None
        assert again.attempts()["j1"] == attempt("a")


def test_an_answer_is_kept_with_all_that_it_told(store: Store) -> None:
    store.intend(record(state=S.UNKNOWN), attempt("a"), TOLD)
    answered = replace(
        attempt("a"),
        verdict="unknown",
        answered_at=3.0,
        http_status=502,
        job_ids=("x", "y"),
        raw="<h1>",
        reason="bad",
        resolution="adopted x",
    )
    store.settle(answered, [record(state=S.UNKNOWN)], [TOLD])
    assert store.attempts() == {"j1": answered}


def test_the_latest_attempt_of_a_job_is_the_one_that_counts(store: Store) -> None:
    for name in ("first", "second"):
        store.intend(record(state=S.UNKNOWN), attempt(name), TOLD)
    assert store.attempts()["j1"].id == "second"


def test_a_job_id_belongs_to_one_job(store: Store) -> None:
    store.save([record("j1", S.SUBMITTED, job_id="f00")], [TOLD])
    with pytest.raises(StateNotWritten):
        store.save([record("j2", S.SUBMITTED, job_id="f00")], [TOLD])
    assert set(store.records()) == {"j1"}


def test_a_rename_takes_attempts_and_extras_along(store: Store) -> None:
    store.intend(record(state=S.UNKNOWN), attempt("a"), TOLD)
    store.save([record("j1.extra1", S.SUBMITTED, job_id="x", extra_of="j1")], [TOLD])
    store.rename({"j1": "k1"}, [TOLD])
    assert set(store.records()) == {"k1", "j1.extra1"}
    assert store.records()["j1.extra1"].extra_of == "k1"
    assert store.attempts()["k1"].id == "a"


def test_what_was_bought_before_is_known_by_order(store: Store) -> None:
    for number in (1, 2, 3):
        job = f"j{number}"
        store.intend(record(job, S.UNKNOWN), attempt(f"a{number}", job), TOLD)
        store.save([record(job, S.SUBMITTED, job_id=f"id{number}")], [TOLD])
    store.save([record("j1.extra1", S.SUBMITTED, job_id="more", extra_of="j1")], [TOLD])
    assert store.job_ids_before("a1") == set()
    assert store.job_ids_before("a2") == {"id1", "more"}
    assert store.job_ids_before("a3") == {"id1", "more", "id2"}
    store.intend(record("j1", S.UNKNOWN), attempt("a4", "j1"), TOLD)  # j1 is bought once more
    assert store.job_ids_before("a3") == {"id2"}


def test_a_commit_that_fails_leaves_nothing_of_itself(store: Store) -> None:
    store.save([record()], [TOLD])
    serial = store.serial()
    with pytest.raises(StateNotWritten):
        store.save(
            [record("a", job_id="same"), record("b", job_id="same")],
            [TOLD],
        )
    with pytest.raises(TypeError):
        store.save([record("c")], [Happening(0.0, "odd", None, {"what": object()})])
    assert set(store.records()) == {"j1"}
    assert store.serial() == serial


def test_notes_are_kept(store: Store) -> None:
    assert store.meta("colour") is None
    store.note(colour="blue")
    store.note(colour="red")
    assert store.meta("colour") == "red"


def test_events_hold_what_happened(store: Store) -> None:
    store.save([record()], [TOLD])
    rows = store.connection.execute("SELECT at, job, name FROM events").fetchall()
    assert rows == [(1.0, "j1", "told")]


def test_the_database_can_be_read_by_anyone_with_sqlite(path: Path, store: Store) -> None:
    store.save([record()], [TOLD])
    db = sqlite3.connect(path)
    assert db.execute("SELECT id, state, prompt FROM jobs").fetchall() == [
        ("j1", "planned", "a fox")
    ]
    db.close()


# -- records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("after", JobState)
def test_only_legal_transitions_are_made(before: JobState, after: JobState) -> None:
    if after is before or after in LEGAL[before]:
        assert moved(record(state=before), after).state is after
    else:
        with pytest.raises(IllegalTransition):
            moved(record(state=before), after)


@pytest.mark.parametrize("ended", [S.DOWNLOADED, S.FAILED, S.REJECTED])
def test_from_an_end_only_a_new_intent_leads_on(ended: JobState) -> None:
    assert LEGAL[ended] - {S.COMPLETED} == {S.UNKNOWN}


@pytest.mark.parametrize(
    ("state", "known", "counted"),
    [
        (S.PLANNED, {}, 0),
        (S.PLANNED, {"credits_spent": 60}, 60),
        (S.UNKNOWN, {}, 60),
        (S.UNKNOWN, {"credits_spent": 60}, 120),
        (S.SUBMITTED, {}, 60),
        (S.SUBMITTED, {"credits_charged": 90}, 90),
        (S.PROCESSING, {}, 60),
        (S.COMPLETED, {"credits_charged": 48}, 48),
        (S.DOWNLOADED, {"credits_charged": 60}, 60),
        (S.DOWNLOADED, {"credits_charged": 60, "credits_refunded": 20}, 40),
        (S.FAILED, {}, 60),
        (S.FAILED, {"credits_refunded": 0}, 60),
        (S.FAILED, {"credits_charged": 60, "credits_refunded": 60}, 0),
        (S.FAILED, {"credits_refunded": 60}, 0),
        (S.FAILED, {"credits_charged": 60, "credits_refunded": 90}, 0),
        (S.REJECTED, {}, 0),
        (S.MISSING, {}, 60),
    ],
)
def test_what_counts_as_spent(state: JobState, known: dict[str, int], counted: int) -> None:
    assert record(state=state, **known).committed == counted
