"""A disk that is full at the worst moment: rows 7, 8 and 9."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from harness import (
    FULL,
    REQUIRED,
    Commits,
    Ended,
    Making,
    Site,
    a_site,
    count_calls,
    enlarge,
    fill,
    finished,
    small_disk,
    tampering,
)

from kling_batch.simulator.account import HistoryMode

FAILURES = [("pwrite64", FULL), ("fdatasync", FULL), ("fdatasync", "error=EIO")]


def full_from(site: Site, commit: Commits, call: str, fault: str) -> Ended:
    """A run whose state's log can't be written any more from this commit on."""
    when = commit.sync if call == "fdatasync" else commit.writes[0]
    log = site.temporary / "full.trace"
    return site.run(before=tampering(log, call, fault, f"{when}+", site.log))


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("call", "fault"), FAILURES)
def test_a_disk_full_at_the_intent_means_no_post(
    site: Site, commits: tuple[Commits, Commits], call: str, fault: str
) -> None:
    ended = full_from(site, commits[0], call, fault)
    assert ended.code == 7, ended.err
    assert "can't be written" in ended.err
    assert "make room" in ended.err
    assert site.service.posts == 0
    site.resume(1)


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("call", "fault"), FAILURES)
def test_a_disk_full_at_the_answer_loses_no_job_id(
    site: Site, commits: tuple[Commits, Commits], call: str, fault: str
) -> None:
    ended = full_from(site, commits[1], call, fault)
    assert ended.code == 7, ended.err
    (charge,) = site.service.ledger
    assert charge.job_id in ended.err
    assert saved(ended)["job_ids"] == [charge.job_id]
    site.resume(1)
    assert site.service.posts == 1


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("part", range(2))
def test_a_disk_full_from_any_write_of_the_state_on_ends_in_a_clear_error(
    tmp_path: Path, part: int
) -> None:
    """From every write of a whole run on in CI; elsewhere from a few of them on."""
    with a_site(tmp_path / "whole", 2) as whole:
        log = whole.temporary / "whole.trace"
        assert whole.run(before=tampering(log, "pwrite64", path=whole.log)).code == 0
    writes = range(1, count_calls(log, "pwrite64") + 1)
    for when in writes[part::2] if REQUIRED else writes[20 + part * 16 :: 64]:
        with a_site(tmp_path / f"from{when}", 2) as site:
            trace = site.temporary / "full.trace"
            ended = site.run(before=tampering(trace, "pwrite64", FULL, f"{when}+", site.log))
            # The last commits may be the page's and the end's own: then all is done.
            assert ended.code in (0, 7), (when, ended.err)
            assert "damaged" not in ended.err
            site.resume(2)


@pytest.mark.usefixtures("strace")
def test_what_was_saved_elsewhere_settles_the_job_where_there_is_no_history(
    make_site: Making, commits: tuple[Commits, Commits]
) -> None:
    with make_site(history=HistoryMode(absent=True)) as site:
        ended = full_from(site, commits[1], *FAILURES[0])
        assert site.run().code == 3
        site.assert_money_is_safe()
        assert site.call(*resolve_command(ended)).code == 0
        site.resume(1)
        assert site.service.posts == 1


def resolve_command(ended: Ended) -> list[str]:
    """The words of the command that the program says settles the job."""
    command = re.search(r"kling-batch (resolve \S+ \S+ --job-id \S+)", ended.err)
    assert command is not None, ended.err
    return command[1].split()


def saved(ended: Ended) -> dict[str, object]:
    """What was saved outside of the state, where the program says it was."""
    where = re.search(r"saved in (\S+\.json)", ended.err)
    assert where is not None, ended.err
    told: dict[str, object] = json.loads(Path(where[1]).read_text())
    return told


@pytest.mark.usefixtures("mounting")
def test_a_disk_full_of_videos_keeps_the_jobs_and_goes_on_when_there_is_room(site: Site) -> None:
    with small_disk(site.outputs, 64) as disk:
        site.write(4, seconds=30)
        ended = site.run()
        assert ended.code == 7, ended.err
        assert "No space left" in ended.err
        kept = [record for record in site.records().values() if record.state.value == "completed"]
        assert kept
        assert all(record.job_id and record.result_url for record in kept)
        assert site.run().code == 7  # still no room: still nothing lost
        enlarge(disk, 4096)
        site.resume(4)
        assert site.service.posts == 4


@pytest.mark.usefixtures("mounting")
def test_a_disk_that_fills_up_while_a_job_is_being_sent_loses_no_job_id(tmp_path: Path) -> None:
    """The first job's poll finds the disk full; the second's answer is waited for all the same."""
    slow = {"on": "submit", "nth": 2, "act": "after", "do": {"delay": 1.0}}
    elsewhere = {"home": tmp_path / "home", "temporary": tmp_path / "tmp"}
    with (
        small_disk(tmp_path / "disk", 1024) as disk,
        a_site(disk, 2, faults=[slow], history=HistoryMode(absent=True), **elsewhere) as site,
    ):
        process = site.start()
        site.service.at_post(2, lambda: fill(disk, leave=0)).wait(20)
        ended = finished(process)
        assert ended.code == 7, ended.err
        second = site.service.ledger[1]
        assert second.job_id in ended.err
        assert saved(ended)["job_ids"] == [second.job_id]
        (disk / "ballast").unlink()
        assert site.call(*resolve_command(ended)).code == 0
        site.resume(2)


@pytest.mark.usefixtures("mounting")
@pytest.mark.parametrize("part", range(2))
def test_wherever_a_disk_runs_full_nothing_is_bought_twice_and_nothing_is_called_damaged(
    tmp_path: Path, part: int
) -> None:
    """State, ledger, videos and temporary files on one small disk, as they are on a laptop."""
    for pages in range(2 * part, 100, 4) if REQUIRED else [2, 26][part:][:1]:
        with (
            small_disk(tmp_path / f"disk{pages}", 1024) as disk,
            a_site(disk, 2, temporary=tmp_path / "tmp") as site,
        ):
            assert site.run("--only", "batch1").code == 0
            ballast = fill(disk, leave=pages * 4096)
            ended = site.run()
            assert ended.code in (0, 7), (pages, ended)
            assert "damaged" not in ended.err
            ballast.unlink()
            site.resume(2)


@pytest.mark.usefixtures("mounting")
@pytest.mark.parametrize("pages", [0, 1, 8, 20] if REQUIRED else [8])
def test_a_first_run_on_a_full_disk_says_so_and_sends_nothing(tmp_path: Path, pages: int) -> None:
    with (
        small_disk(tmp_path / "disk", 1024) as disk,
        a_site(disk, temporary=tmp_path / "tmp") as site,
    ):
        ballast = fill(disk, leave=pages * 4096)
        ended = site.run()
        assert ended.code == 7, ended
        assert "make room" in ended.err
        assert site.service.posts == 0
        ballast.unlink()
        site.resume(1)
