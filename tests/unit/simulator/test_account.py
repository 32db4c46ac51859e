"""A stand-in that begins where an earlier one ended."""

from __future__ import annotations

from support.clock import FakeClock

from kling_batch.model import JobRequest
from kling_batch.simulator.account import AS_ASKED, Account

REQUEST = JobRequest("a", "https://e.org/a.png", "https://e.org/a.mp4", "video", "720p", 5)


def account(clock: FakeClock) -> Account:
    return Account(clock, balance=1000, submissions_per_hour=None, job_seconds=75, seed=0)


def test_a_job_of_an_earlier_stand_in_goes_on_and_its_id_is_not_given_again():
    clock = FakeClock()
    earlier = account(clock)
    [job] = earlier.submit(REQUEST, "canonical", AS_ASKED)
    [charge] = earlier.ledger()
    clock.sleep(5)
    later = account(clock)
    later.remember(charge)
    taken_over = later.job(job.id)
    assert taken_over is not None
    assert (taken_over.created_at, later.balance) == (job.created_at, 1000)
    [fresh] = later.submit(REQUEST, "canonical", AS_ASKED)
    assert fresh.id != job.id
