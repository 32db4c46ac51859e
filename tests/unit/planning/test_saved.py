"""What makes a saved plan stale, and what does not."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from kling_batch.errors import UsageError
from kling_batch.model import Budget, JobRequest, Pricing
from kling_batch.planning.plan import Action, Wishes
from kling_batch.planning.saved import SavedJob, SavedPlan, as_json, moved_on, read_saved
from kling_batch.structs import replace

REQUEST = JobRequest("a turn", "https://e.com/a.png", "https://e.com/v.mp4", "video", "720p", 5)
JOB = SavedJob("j1", Action.SUBMIT, "new", 60, REQUEST, REQUEST.fingerprint(), "outputs/b/j1.mp4")
PLAN = SavedPlan(
    created_at="2026-11-23T10:00:00+00:00",
    name="b",
    path="m.yaml",
    sha256="0" * 64,
    serial=7,
    simulated=False,
    service="https://ulazai.com",
    contract="canonical",
    submissions_per_hour=24,
    max_in_flight=16,
    pricing=Pricing(),
    budget=Budget(),
    wishes=Wishes(),
    max_credits=None,
    jobs=(JOB, replace(JOB, id="j2", action=Action.DONE)),
)
LONGER = replace(REQUEST, duration_seconds=6)


@pytest.mark.parametrize(
    "present",
    [
        PLAN,
        replace(PLAN, created_at="2027", sha256="1" * 64, path="elsewhere/m.yaml"),
        replace(PLAN, jobs=PLAN.jobs[::-1]),
        replace(PLAN, jobs=(replace(JOB, reason="not submitted yet"), PLAN.jobs[1])),
        replace(PLAN, submissions_per_hour=12, max_in_flight=2),
    ],
    ids=["itself", "another file", "another order", "another reason", "another pace"],
)
def test_what_decides_no_purchase_makes_no_plan_stale(present):
    assert moved_on(PLAN, present) is None


@pytest.mark.parametrize(
    ("present", "what", "said"),
    [
        (replace(PLAN, name="c"), "jobs", "it plans the batch b, now named c"),
        (replace(PLAN, service="https://x"), "service", "made for https://ulazai.com"),
        (replace(PLAN, contract="legacy"), "service", "the contract was canonical"),
        (replace(PLAN, serial=8), "state", "it stood at 7, now it stands at 8"),
        (
            replace(PLAN, pricing=Pricing(credits_per_second={"720p": 13, "1080p": 20})),
            "prices",
            "720p cost 12 credits a second, now 13",
        ),
        (
            replace(PLAN, pricing=Pricing(usd_per_credit=Decimal("0.01"))),
            "prices",
            "a credit cost $0.0092, now $0.01",
        ),
        (replace(PLAN, budget=Budget(max_credits=5)), "prices", "was not set, now 5"),
        (replace(PLAN, jobs=PLAN.jobs[:1]), "jobs", "j2 is no longer planned"),
        (replace(PLAN, jobs=(*PLAN.jobs, replace(JOB, id="j3"))), "jobs", "j3 is new"),
        (
            replace(
                PLAN,
                jobs=(
                    replace(JOB, request=LONGER, fingerprint=LONGER.fingerprint()),
                    PLAN.jobs[1],
                ),
            ),
            "jobs",
            "j1: duration seconds changed: 5 → 6",
        ),
        (
            replace(PLAN, jobs=(JOB, replace(JOB, id="j2"))),
            "jobs",
            "j2 was planned as done, now submit",
        ),
        (replace(PLAN, jobs=(replace(JOB, credits=61), PLAN.jobs[1])), "jobs", "j1: 60 credits"),
    ],
)
def test_what_decides_a_purchase_makes_it_stale(present, what, said):
    stale = moved_on(PLAN, present)
    assert stale is not None
    assert stale.what == what
    assert said in stale.reason


def test_many_changes_are_counted_and_a_few_named():
    jobs = tuple(replace(JOB, id=f"n{i}") for i in range(9))
    stale = moved_on(PLAN, replace(PLAN, jobs=(*PLAN.jobs, *jobs)))
    assert stale is not None
    assert stale.reason == "n0 is new; n1 is new; n2 is new; and 6 more"


def test_a_plan_that_grew_is_still_read():
    value = as_json(PLAN)
    value["added later"] = 1
    value["budget"]["added later"] = 1
    value["pricing"]["credits_per_second"]["4k"] = 40
    assert read_saved(json.dumps(value).encode()) == PLAN


def test_a_price_that_was_edited_is_refused():
    value = as_json(PLAN)
    value["totals"]["credits"] = 1
    with pytest.raises(UsageError, match="not as it was saved"):
        read_saved(json.dumps(value).encode())
