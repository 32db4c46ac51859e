"""What is saved and what is only noted: when it is on record, when it is said, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.clock import FakeClock

from kling_batch.execution.batch import NOTED_SECONDS, Batch
from kling_batch.model import JobRequest
from kling_batch.service.ledger import Ledger
from kling_batch.state.opening import Identity, writing
from kling_batch.state.records import JobState, Record, moved
from kling_batch.state.store import Happening, StateNotWritten

REQUEST = JobRequest("dance", "https://a.b/c.png", "https://a.b/c.mp4", "video", "720p", 5)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def batch(folder: Path, told: list[str]) -> Iterator[Batch]:
    """Of two jobs: `j` is bought, `next` is not."""
    clock = FakeClock()
    ledger = Ledger(folder / "account.db", clock)
    with writing(folder / "batch.db", Identity("batch", "batch.yaml"), 0.0) as store:
        batch = Batch(store, ledger, clock, lambda one: told.append(one.name), {})
        bought = record("j", JobState.SUBMITTED, job_id="x")
        batch.save([bought, record("next", JobState.PLANNED)], [])
        yield batch
    ledger.close()


def record(job: str, state: JobState, job_id: str | None = None) -> Record:
    return Record(job, "f", REQUEST, state, f"{job}.mp4", 60, job_id=job_id)


def note(batch: Batch, state: JobState) -> None:
    batch.note([moved(batch.records["j"], state)], [Happening(1.0, state.value, "j")])


def on_record(batch: Batch, job: str = "j") -> str:
    return batch.store.records()[job].state.value


def history(batch: Batch) -> list[str]:
    rows = batch.store.connection.execute("SELECT name FROM events ORDER BY serial")
    return [name for (name,) in rows]


def test_what_is_noted_counts_at_once_and_is_said_when_it_is_on_record(
    batch: Batch, told: list[str]
) -> None:
    note(batch, JobState.PROCESSING)
    assert batch.records["j"].state is JobState.PROCESSING
    assert on_record(batch) == "submitted"
    assert told == []
    batch.write_noted()
    assert on_record(batch) == "processing"
    assert told == history(batch) == ["processing"]


def test_what_is_noted_has_a_commit_of_its_own_only_when_no_other_comes_in_time(
    batch: Batch,
) -> None:
    note(batch, JobState.PROCESSING)
    batch.clock.sleep(NOTED_SECONDS / 2)
    note(batch, JobState.COMPLETED)
    batch.write_noted(NOTED_SECONDS / 4)
    assert on_record(batch) == "submitted"
    batch.write_noted(NOTED_SECONDS)
    assert on_record(batch) == "completed"
    assert history(batch) == ["processing", "completed"]


def save(batch: Batch) -> None:
    batch.save([record("next", JobState.UNKNOWN)], [Happening(2.0, "later", "next")])


def tell(batch: Batch) -> None:
    batch.tell("later")


@pytest.mark.parametrize("act", [save, tell])
def test_what_was_noted_goes_before_what_is_saved_or_told_next(
    batch: Batch, told: list[str], act: Callable[[Batch], None]
) -> None:
    note(batch, JobState.PROCESSING)
    act(batch)
    assert on_record(batch) == "processing"
    assert told == ["processing", "later"]
    batch.write_noted()
    assert told == ["processing", "later"]


def test_what_was_noted_is_never_written_over_what_came_after_it(batch: Batch) -> None:
    note(batch, JobState.PROCESSING)
    batch.save([moved(batch.records["j"], JobState.FAILED)], [])
    batch.write_noted()
    assert on_record(batch) == "failed"


def test_what_could_not_be_written_is_not_said_and_not_forgotten(
    batch: Batch, told: list[str]
) -> None:
    note(batch, JobState.COMPLETED)
    batch.store.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StateNotWritten):
        batch.write_noted()
    assert told == []
    batch.store.connection.execute("PRAGMA query_only = OFF")
    batch.write_noted()
    assert told == ["completed"]
