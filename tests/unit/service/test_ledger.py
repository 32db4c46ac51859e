"""The account's ledger: twenty-four an hour over processes, restarts and clocks that jump."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.clock import FakeClock

from kling_batch.errors import StateUnusable
from kling_batch.service.ledger import HOUR, MARGIN, Ledger, account_file


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(folder: Path, clock: FakeClock) -> Iterator[Ledger]:
    ledger = Ledger(folder / "account.db", clock)
    yield ledger
    ledger.close()


def fill(ledger: Ledger, slots: int, per_hour: int = 24) -> None:
    for _ in range(slots):
        assert ledger.take_slot(per_hour) == 0.0


def reopened(folder: Path, clock: FakeClock, era: str = "fake") -> Ledger:
    clock.era = era
    return Ledger(folder / "account.db", clock)


def test_the_twenty_fifth_waits_until_the_first_is_an_hour_old(
    ledger: Ledger, clock: FakeClock
) -> None:
    fill(ledger, 1)
    clock.sleep(100)
    fill(ledger, 23)
    assert ledger.take_slot(24) == pytest.approx(HOUR + MARGIN - 100)
    clock.sleep(HOUR + MARGIN - 100)
    fill(ledger, 1)
    assert ledger.take_slot(24) == pytest.approx(100)


def test_the_limit_holds_over_two_processes(folder: Path, ledger: Ledger, clock: FakeClock) -> None:
    other = reopened(folder, clock)
    fill(ledger, 12)
    fill(other, 12)
    assert ledger.take_slot(24) > 0
    assert other.take_slot(24) > 0
    other.close()


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 365 * 86_400.0, -365 * 86_400.0])
def test_a_wall_clock_that_jumps_changes_nothing_in_one_era(
    folder: Path, ledger: Ledger, clock: FakeClock, jump: float
) -> None:
    fill(ledger, 24)
    clock.jump(jump)
    assert ledger.take_slot(24) == pytest.approx(HOUR + MARGIN)
    other = reopened(folder, clock)
    assert other.take_slot(24) == pytest.approx(HOUR + MARGIN)
    other.close()
    clock.sleep(HOUR + MARGIN)
    fill(ledger, 24)


def test_a_new_era_judges_by_the_wall(folder: Path, ledger: Ledger, clock: FakeClock) -> None:
    fill(ledger, 24)
    clock.wall += 600
    clock.elapsed = 3.0
    other = reopened(folder, clock, "after a restart")
    assert other.take_slot(24) == pytest.approx(HOUR + MARGIN - 600)
    other.close()


def test_a_clock_set_back_over_a_restart_counts_from_now(
    folder: Path, ledger: Ledger, clock: FakeClock
) -> None:
    fill(ledger, 24)
    clock.jump(-10 * HOUR)
    other = reopened(folder, clock, "after a restart")
    assert other.take_slot(24) == pytest.approx(HOUR + MARGIN)
    clock.sleep(HOUR + MARGIN)
    fill(other, 1)
    other.close()


def test_a_429_teaches_what_others_used(ledger: Ledger, clock: FakeClock) -> None:
    fill(ledger, 2)
    assert ledger.refused(300.0, 24) == 300.0
    assert ledger.take_slot(24) == pytest.approx(300.0)
    assert ledger.blocked_for() == pytest.approx(300.0)
    clock.sleep(300.5)
    fill(ledger, 1)


def test_a_429_without_a_word_waits_for_the_oldest(ledger: Ledger, clock: FakeClock) -> None:
    fill(ledger, 1)
    clock.sleep(1000)
    fill(ledger, 1)
    assert ledger.refused(None, 24) == pytest.approx(HOUR - 1000)


def test_a_429_without_a_word_or_anything_to_go_by_waits_a_share_of_the_hour(
    ledger: Ledger,
) -> None:
    fill(ledger, 1)
    assert ledger.refused(None, 24) == 150.0


@pytest.mark.parametrize(("asked", "wait"), [(0.0, 1.0), (1e9, HOUR)])
def test_a_429_is_obeyed_within_bounds(ledger: Ledger, asked: float, wait: float) -> None:
    assert ledger.refused(asked, 24) == wait


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_block_outlives_a_wall_clock_that_jumps(
    ledger: Ledger, clock: FakeClock, jump: float
) -> None:
    ledger.refused(300.0, 24)
    clock.jump(jump)
    assert ledger.take_slot(24) == pytest.approx(300.0)


def test_a_block_from_before_a_restart_with_a_clock_set_back_is_dropped(
    folder: Path, ledger: Ledger, clock: FakeClock
) -> None:
    ledger.refused(300.0, 24)
    clock.jump(-30 * 86_400.0)
    other = reopened(folder, clock, "after a restart")
    assert other.take_slot(24) == 0.0
    other.close()


def test_a_slot_is_never_given_back(ledger: Ledger) -> None:
    fill(ledger, 24)
    ledger.begin_turn()
    ledger.end_turn()
    assert ledger.take_slot(24) > 0


def test_one_submits_at_a_time(folder: Path, ledger: Ledger, clock: FakeClock) -> None:
    other = reopened(folder, clock)
    assert ledger.begin_turn()
    assert not other.begin_turn()
    ledger.end_turn()
    assert other.begin_turn()
    other.close()
    assert ledger.begin_turn(), "a ledger that is closed keeps no turn"


def test_the_balance_and_the_owners_are_kept(
    folder: Path, ledger: Ledger, clock: FakeClock
) -> None:
    assert ledger.balance() is None
    ledger.own(["a", "b"], folder / "one.db", balance=438)
    ledger.own(["b", "c"], folder / "two.db")
    other = reopened(folder, clock)
    balance = other.balance()
    assert balance is not None
    assert (balance.credits, balance.seen_at) == (438, clock.now())
    owners = {job: Path(state).name for job, state in other.owners().items()}
    assert owners == {"a": "one.db", "b": "one.db", "c": "two.db"}
    other.close()


def test_an_account_is_named_by_a_salted_hash_of_its_key(folder: Path) -> None:
    key = "ulazai_live_secret"
    first = account_file(folder / "accounts", "https://a", key)
    assert first == account_file(folder / "accounts", "https://a", key)
    assert first != account_file(folder / "accounts", "https://a", "another")
    assert first != account_file(folder / "accounts", "https://b", key)
    assert first != account_file(folder / "elsewhere", "https://a", key)
    assert "secret" not in str(first)
    assert stat.S_IMODE((folder / "accounts").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "accounts/salt").stat().st_mode) == 0o600


def test_the_ledger_is_private_and_a_broken_one_is_refused(
    folder: Path, ledger: Ledger, clock: FakeClock
) -> None:
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    broken = folder / "broken.db"
    broken.write_text("no database" * 100)
    with pytest.raises(StateUnusable):
        Ledger(broken, clock)


def test_first_runs_at_one_moment_make_one_ledger(folder: Path, clock: FakeClock) -> None:
    def begin(path: Path) -> float:
        ledger = Ledger(path, clock)
        try:
            return ledger.take_slot(3)
        finally:
            ledger.close()

    with ThreadPoolExecutor(4) as pool:
        for turn in range(25):
            waits = list(pool.map(begin, [folder / f"{turn}.db"] * 4))
            assert sorted(wait > 0 for wait in waits) == [False, False, False, True]
    assert not list(folder.glob(".*"))
