"""SIGKILL and SIGSTOP to the real program: rows 5, 6, 12 and 27, and the harness's own control."""

from __future__ import annotations

import os
import signal
import time

import pytest
from harness import Making, finished, until
from random_kills import JOBS, kill_often

# CI asks for 100; a handful shows elsewhere that the harness itself works.
KILLS = int(os.environ.get("KLING_BATCH_KILLS", "2"))
PARTS = 2  # so that two test processes share the work


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_random_moments_every_batch_converges_with_one_charge_a_job(part: int) -> None:
    figures = kill_often(range(part, KILLS, PARTS))
    assert figures.kills >= len(range(part, KILLS, PARTS)) * 0.8
    assert (figures.doubles, figures.lost, figures.unfinished) == (0, 0, 0)


def test_without_the_write_ahead_the_same_kills_are_charged_twice() -> None:
    """The control: a harness that can't find this would find nothing."""
    figures = kill_often(range(min(KILLS + 1, 20)), intent=False)
    assert figures.doubles > 0


def test_a_killed_download_goes_on_where_it_stopped(make_site: Making) -> None:
    slowly = {"on": "result", "nth": 1, "do": {"drip": {"bytes": 4096, "every": 0.1}}}
    with make_site(faults=[slowly]) as site:
        site.write(1, seconds=30)
        process = site.start()
        # What has come is written piece by piece, the first piece when a buffer is full.
        until(lambda: any(part.stat().st_size for part in site.outputs.glob(".*.part")))
        process.kill()
        finished(process)
        assert site.states() == {"batch1": "completed"}
        (part,) = site.outputs.glob(".*.part")
        have = part.stat().st_size
        site.resume(1)
        ranges = [call.headers.get("range") for call in site.service.calls if "result" in call.path]
        assert ranges == [None, f"bytes={have}-"]


def test_the_lock_and_the_turn_of_a_killed_run_hold_nobody_up(make_site: Making) -> None:
    with make_site(3, faults=[{"on": "submit", "nth": 2, "do": {"delay": 1.0}}]) as site:
        process = site.start()
        posted = site.service.at_post(2, process.kill)
        posted.wait(20)
        finished(process)
        assert site.state_file.with_suffix(".lock").exists()
        begun = time.monotonic()
        site.resume(3)
        assert time.monotonic() - begun < 10
        assert site.told("adopted") == 1


@pytest.mark.parametrize("fault", [{"delay": 0.5}, {"reset": True}])
def test_a_machine_that_sleeps_while_a_submission_is_under_way_buys_it_once(
    make_site: Making, fault: dict[str, object]
) -> None:
    with make_site(2, faults=[{"on": "submit", "nth": 1, "act": "after", "do": fault}]) as site:
        process = site.start()
        site.service.at_post(1, lambda: process.send_signal(signal.SIGSTOP)).wait(20)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        ended = finished(process)
        assert ended.code == 0, ended.err
        site.assert_done(2)


def test_a_machine_that_sleeps_while_jobs_are_made_goes_on(make_site: Making) -> None:
    with make_site(3) as site:
        process = site.start()
        site.service.at_post(3, lambda: None).wait(20)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        assert finished(process).code == 0
        site.assert_done(3)


def test_killed_again_and_again_it_still_converges(make_site: Making) -> None:
    with make_site(JOBS // 3) as site:
        for _ in range(3):
            process = site.start()
            site.service.at_post(site.service.posts + 1, process.kill).wait(20)
            finished(process)
            site.assert_money_is_safe()
        site.resume(JOBS // 3)
