"""State files that can't be used (row 10): refused before any POST, and never written over."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.bench import Bench, jobs
from support.money import assert_finishes

from kling_batch.errors import ExitCode, StateHeld, StateUnusable
from kling_batch.execution.submitter import _save_elsewhere
from kling_batch.state.opening import Identity, writing
from kling_batch.state.store import SCHEMA_VERSION, StateNotWritten, Store


def _sql(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        db = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            db.execute(statement)
        db.close()

    return change


def _overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4000] = os.urandom(3900)
    path.write_bytes(data)


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "text": (lambda path: path.write_text("version: 1\n" * 100), "no state file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "damaged"),
    "a head alone": (lambda path: path.write_bytes(path.read_bytes()[:16]), "damaged"),
    "overwritten": (_overwrite, "damaged"),
    "newer": (_sql(f"PRAGMA user_version = {SCHEMA_VERSION + 1}"), "newer kling-batch"),
    "without a version": (_sql("PRAGMA user_version = 0"), "does not tell its version"),
    "another program's": (_sql("PRAGMA application_id = 7"), "another program's"),
    "another manifest's": (_sql("UPDATE meta SET value = 'x' WHERE key = 'name'"), "is the state"),
    "read-only": (lambda path: path.chmod(0o400), "read-only"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_state_is_refused_before_anything_is_sent(folder: Path, what: str) -> None:
    bench = Bench(folder, jobs(2))
    bench.run()
    bench.write(jobs(3))
    sound = bench.state_file.read_bytes()
    change, message = UNUSABLE[what]
    change(bench.state_file)
    broken = bench.state_file.read_bytes()
    with pytest.raises(StateUnusable, match=message) as raised:
        bench.run()
    assert raised.value.exit_code is ExitCode.STATE
    assert raised.value.hint
    assert bench.state_file.read_bytes() == broken, "it was written over"
    assert bench.simulator.requests["POST", "generate"] == 2
    bench.state_file.chmod(0o600)
    bench.state_file.write_bytes(sound)
    assert_finishes(bench, 3)


def test_a_state_of_the_first_version_is_read_and_goes_on(folder: Path) -> None:
    bench = Bench(folder, jobs(2), faults=[{"on": "submit", "nth": 2, "do": "reset"}])
    assert bench.run(timeout=100.0).exit_code is ExitCode.STOPPED
    columns = ("era", "steady", "balance_at")
    older = [f"ALTER TABLE attempts DROP COLUMN {column}" for column in columns]
    _sql(*older, "PRAGMA user_version = 1")(bench.state_file)
    assert bench.states() == {"j1": "downloaded", "j2": "unknown"}
    assert bench.run().exit_code is ExitCode.DONE
    assert_finishes(bench, 2)


@pytest.mark.parametrize("what", ["empty", "text", "cut", "newer", "another program's"])
def test_reading_refuses_it_too(folder: Path, what: str) -> None:
    bench = Bench(folder, jobs(1))
    bench.run()
    UNUSABLE[what][0](bench.state_file)
    with pytest.raises(StateUnusable):
        bench.records()


def test_a_folder_in_its_place_is_refused(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.state_file.mkdir(parents=True)
    with pytest.raises(StateUnusable):
        bench.run()
    assert bench.simulator.requests["POST", "generate"] == 0


def test_a_second_run_is_told_who_holds_it(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.run()
    identity = Identity("batch", "batch.yaml")
    with (
        writing(bench.state_file, identity, 0.0),
        pytest.raises(StateHeld, match=f"process {os.getpid()}") as raised,
        writing(bench.state_file, identity, 0.0),
    ):
        pass
    assert raised.value.exit_code is ExitCode.HELD


def test_a_lock_that_nobody_holds_is_no_lock(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.state_file.parent.mkdir()
    bench.state_file.with_suffix(".lock").write_text("12345")
    assert bench.run().exit_code is ExitCode.DONE


def test_a_renamed_manifest_keeps_its_state(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.run()
    with pytest.raises(StateUnusable), _as("new.yaml", bench):
        pass  # both files are there: it is still the old one's
    (folder / "batch.yaml").rename(folder / "new.yaml")
    with _as("new.yaml", bench) as store:
        assert store.meta("manifest") == "new.yaml"
        assert set(store.records()) == {"j1"}


def _as(manifest: str, bench: Bench) -> AbstractContextManager[Store]:
    return writing(bench.state_file, Identity("batch", manifest), 0.0)


def test_a_commit_that_fails_ends_the_run_before_more_is_sent(folder: Path) -> None:
    bench = Bench(folder, jobs(3))

    def fill(happening: object, runner: object) -> None:
        if getattr(happening, "name", "") == "submitted":
            runner._batch.store.connection.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]

    with pytest.raises(StateNotWritten) as raised:
        bench.run(on_event=fill)
    assert raised.value.exit_code is ExitCode.STOPPED
    assert bench.simulator.requests["POST", "generate"] == 1
    assert_finishes(bench, 3)


def test_an_answer_that_can_not_be_recorded_is_saved_elsewhere_and_told(folder: Path) -> None:
    bench = Bench(folder, jobs(2))

    def fill(happening: object, runner: object) -> None:
        if getattr(happening, "name", "") == "submitting":
            runner._batch.store.connection.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]

    with pytest.raises(StateNotWritten) as raised:
        bench.run(on_event=fill)
    job_id = bench.simulator.ledger[0].job_id
    assert job_id in raised.value.message
    assert f"j1 --job-id {job_id}" in raised.value.hint
    saved = list(bench.state_file.parent.glob("*.rescued-*.json"))
    assert len(saved) == 1
    assert job_id in saved[0].read_text()
    assert saved[0].stat().st_mode & 0o777 == 0o600
    assert_finishes(bench, 2)


def test_the_next_folder_is_taken_where_one_has_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    said = _save_elsewhere(b"{}", folder / "not" / "there" / "batch.db")
    assert str(folder) in said
    assert len(list(folder.glob("batch.rescued-*.json"))) == 1
