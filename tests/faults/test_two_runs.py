"""Two processes at once: one state, and two states of one account (row 11)."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path

import pytest
from harness import Making, Service, Site, finished, until

from kling_batch.simulator.server import serve


def test_a_second_run_on_a_state_ends_at_once_and_says_who_holds_it(make_site: Making) -> None:
    with make_site(faults=[{"on": "submit", "do": {"delay": 8.0}}]) as site:
        first = site.start()
        until(lambda: site.service.posts)
        begun = time.monotonic()
        second = site.run()
        assert time.monotonic() - begun < 6
        assert second.code == 6
        held = re.search(r"process (\d+) on (\S+), since (\d\d:\d\d:\d\d)", second.err)
        assert held is not None
        assert held[1] == str(first.pid)
        assert held[2] == socket.gethostname()
        assert finished(first).code == 0
        site.assert_done(1)


def test_status_is_told_while_a_run_holds_the_state(make_site: Making) -> None:
    with make_site(faults=[{"on": "submit", "do": {"delay": 1.0}}]) as site:
        first = site.start()
        until(lambda: site.service.posts)
        told = site.call("status", site.manifest.name, "--json")
        assert told.code == 0
        assert '"unknown"' in told.out
        assert finished(first).code == 0


@pytest.fixture
def two_sites(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Two manifests of one account, which allows three submissions an hour."""
    service = Service(submissions_per_hour=3)
    with serve(service) as server:
        sites = [
            Site(tmp_path / name, server.url, service, tmp_path / "home", tmp_path / "tmp", name)
            for name in ("left", "right")
        ]
        for site in sites:
            site.write(2, "service: {submissions_per_hour: 3}")
        yield sites
        for site in sites:
            site.end_all()


def test_the_hourly_limit_holds_over_two_processes(two_sites: list[Site]) -> None:
    service = two_sites[0].service
    processes = [site.start() for site in two_sites]
    until(lambda: len(service.ledger) == 3)
    until(lambda: sum(site.told("downloaded") for site in two_sites) == 3)
    time.sleep(0.5)
    assert service.posts == 3  # the fourth was not even tried
    for process in processes:
        process.send_signal(signal.SIGINT)
    codes = sorted(finished(process).code for process in processes)
    assert codes in ([0, 130], [130, 130])
    for site in two_sites:
        site.assert_money_is_safe()
        assert sum(site.states()[one] == "planned" for one in site.states()) < 2


def test_two_first_runs_of_an_account_share_one_ledger(two_sites: list[Site]) -> None:
    """Neither has been there before: both make the folder, the salt and the ledger."""
    processes = [site.start("run", site.manifest.name, "--yes", "--no-wait") for site in two_sites]
    assert sorted(finished(process).code for process in processes) == [0, 7]
    assert two_sites[0].service.posts == 3
    accounts = two_sites[0].home / "state" / "kling-batch" / "accounts"
    assert len(list(accounts.glob("*.db"))) == 1
