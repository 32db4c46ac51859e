"""Killed at a chosen system call: rows 1 to 5 of the fault matrix, each moment by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import (
    KILL,
    REQUIRED,
    Commits,
    Ended,
    Site,
    a_site,
    count_calls,
    tampering,
)

pytestmark = pytest.mark.usefixtures("strace")


def killed(site: Site, calls: str, when: int, path: Path | None = None) -> Ended:
    """A run that is killed as it enters the `when`-th of these calls."""
    log = site.temporary / "killed.trace"
    ended = site.run(before=tampering(log, calls, KILL, str(when), path))
    assert "killed by SIGKILL" in log.read_text()
    return ended


@pytest.mark.parametrize("moment", ["first write", "last write", "sync"])
def test_killed_while_the_intent_is_committed_nothing_was_sent(
    site: Site, commits: tuple[Commits, Commits], moment: str
) -> None:
    intent, _ = commits
    if moment == "sync":
        killed(site, "fdatasync", intent.sync, site.log)
    else:
        killed(site, "pwrite64", intent.writes[0 if moment == "first write" else -1], site.log)
    assert site.service.posts == 0
    site.resume(1)
    assert site.service.posts == 1


@pytest.mark.parametrize("moment", ["first write", "last write", "sync"])
def test_killed_while_the_answer_is_committed_its_job_is_not_bought_again(
    site: Site, commits: tuple[Commits, Commits], moment: str
) -> None:
    _, answer = commits
    if moment == "sync":
        # What was written stays in the system's memory when a process dies: it is on record.
        killed(site, "fdatasync", answer.sync, site.log)
        assert site.states() == {"batch1": "submitted"}
    else:
        killed(site, "pwrite64", answer.writes[0 if moment == "first write" else -1], site.log)
        assert site.states() == {"batch1": "unknown"}
    assert site.service.posts == 1
    site.resume(1)
    assert site.service.posts == 1
    assert site.told("adopted") == (moment != "sync")


@pytest.mark.parametrize(("call", "when"), [("connect", 1), ("sendto", 1), ("sendto", 2)])
def test_killed_before_the_request_was_whole_it_is_planned_again_after_the_quiet_period(
    site: Site, call: str, when: int
) -> None:
    killed(site, call, when)
    assert site.states() == {"batch1": "unknown"}
    assert not site.service.ledger
    site.resume(1)
    assert site.told("planned_again") == 1


def test_killed_between_sending_and_reading_the_job_is_adopted(site: Site) -> None:
    killed(site, "recvfrom", 1)
    assert site.states() == {"batch1": "unknown"}
    site.resume(1)
    assert site.told("adopted") == 1
    assert site.service.posts == 1


@pytest.mark.parametrize("call", ["fsync", "rename", "link", "unlink"])
def test_killed_at_any_step_of_putting_a_video_in_its_place_it_is_whole_after_a_resume(
    tmp_path: Path, call: str
) -> None:
    """Every step in CI; elsewhere every fourth of each kind."""

    def submitted_before(site: Site) -> None:
        # The state is there already, so that these calls are the download's own.
        assert site.run("--no-wait").code == 0

    with a_site(tmp_path / "whole") as whole:
        submitted_before(whole)
        log = whole.temporary / "download.trace"
        assert whole.run(before=tampering(log, call)).code == 0
    moments = count_calls(log, call)
    assert moments
    for when in range(1, moments + 1, 1 if REQUIRED else 4):
        with a_site(tmp_path / f"killed{when}") as site:
            submitted_before(site)
            killed(site, call, when)
            site.resume(1)


@pytest.mark.parametrize("part", range(2))
def test_killed_at_any_write_of_the_state_the_batch_converges(tmp_path: Path, part: int) -> None:
    """Every write and every sync of a whole run in CI; elsewhere a few of them."""
    calls = "pwrite64,fdatasync"
    with a_site(tmp_path / "whole", 2) as whole:
        log = whole.temporary / "state.trace"
        assert whole.run(before=tampering(log, calls, path=whole.log)).code == 0
    moments = [
        (call, when) for call in calls.split(",") for when in range(1, count_calls(log, call) + 1)
    ]
    chosen = moments[part::2] if REQUIRED else moments[20 + part * 16 :: 64]
    for call, when in chosen:
        with a_site(tmp_path / f"{call}{when}", 2) as site:
            site.run(before=tampering(site.temporary / "trace", call, KILL, str(when), site.log))
            site.resume(2)
