"""Plans: no cosmetic edit changes one, prices add up exactly, and a saved one comes back whole."""

from __future__ import annotations

import copy
import json
import random
from decimal import Decimal
from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.documents import documents, load, shuffled

from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.model import Budget, JobRequest, Manifest, Pricing
from kling_batch.planning.change import Kind, compare
from kling_batch.planning.plan import Action, Plan, Wishes, plan_jobs
from kling_batch.planning.saved import (
    SavedJob,
    SavedPlan,
    as_json,
    moved_on,
    read_saved,
    saved_jobs,
)
from kling_batch.planning.timetable import make_timetable

QUICK = settings(max_examples=40, deadline=None)
NO_TIMES = make_timetable(submissions=0, in_flight=0, now=0.0, per_hour=1, max_in_flight=1)


def valid(document: Any) -> Manifest:
    try:
        return load(document)
    except ManifestInvalid:
        assume(False)
        raise


def plan_of(manifest: Manifest) -> Plan:
    return Plan(manifest.name, plan_jobs(manifest, {}, Wishes(), "outputs"), NO_TIMES)


def frozen(manifest: Manifest) -> SavedPlan:
    service = manifest.service
    return SavedPlan(
        created_at="2026-11-23T10:00:00+00:00",
        name=manifest.name,
        path="made.yaml",
        sha256="0" * 64,
        serial=0,
        simulated=False,
        service="https://ulazai.com",
        contract=service.contract,
        submissions_per_hour=service.submissions_per_hour,
        max_in_flight=service.max_in_flight,
        pricing=manifest.pricing,
        budget=manifest.budget,
        wishes=Wishes(),
        max_credits=None,
        jobs=saved_jobs(plan_of(manifest)),
    )


def rewritten(document: Any, rng: random.Random) -> bytes:
    """The same wishes as a person may write them another day.

    In another order and in block style, with comments, with anchors for what is alike, with
    settings of a pair given where the defaults say the same, or the other way round.
    """
    document = shuffled(copy.deepcopy(document), rng)
    defaults = document["defaults"]
    for pair in document["pairs"]:
        for key, value in defaults.items():
            if pair.get(key) == value:
                del pair[key]
            elif key not in pair and rng.random() < 0.5:
                pair[key] = value
    shared = {"mood": "calm"}  # one object in many places is written as an anchor and its aliases
    document["vars"] = shared
    for pair in document["pairs"]:
        pair["vars"] = shared
    lines = yaml.safe_dump(document, sort_keys=False, width=60).splitlines()
    commented = [
        f"{line}{rng.choice(['', '  # so'])}" if line.endswith((":", "720p")) else line
        for line in lines
    ]
    return "\n".join(["# rewritten", *commented, ""]).encode()


@QUICK
@given(documents(), st.randoms(use_true_random=False))
def test_no_cosmetic_edit_changes_an_id_a_fingerprint_or_a_price(
    document: dict[str, Any], rng: random.Random
) -> None:
    first = valid(document)
    second = load_manifest(first.source, text=rewritten(document, rng))
    assert moved_on(frozen(first), frozen(second)) is None
    assert compare(first, second).jobs == ()
    told = {job.id: (job.fingerprint, job.credits) for job in frozen(first).jobs}
    assert {job.id: (job.fingerprint, job.credits) for job in frozen(second).jobs} == told


@QUICK
@given(documents(), st.sampled_from(["prompt", "duration_seconds", "quality_mode"]))
def test_an_edit_of_a_request_is_always_noticed(document: dict[str, Any], key: str) -> None:
    first = valid(document)
    other = {"prompt": "another", "duration_seconds": 29, "quality_mode": "1080p"}[key]
    second = valid({**document, "defaults": {**document["defaults"], key: other}})
    changed = {job.id: job.request for job in first.jobs} != {
        job.id: job.request for job in second.jobs
    }
    assert (moved_on(frozen(first), frozen(second)) is not None) == changed
    assert bool(compare(first, second).jobs) == changed


@QUICK
@given(documents(), documents(), st.integers(1, 99), st.decimals("0.0001", "9", places=4))
def test_sums_are_exact(
    document: dict[str, Any], later: dict[str, Any], rate: int, usd: Decimal
) -> None:
    pricing = {"credits_per_second": {"720p": rate}, "usd_per_credit": float(usd)}
    manifest = valid({**document, "pricing": pricing})
    plan = plan_of(manifest)
    rates = {"720p": rate, "1080p": 20}
    by_hand = [
        rates[job.request.quality_mode] * job.request.duration_seconds for job in manifest.jobs
    ]
    assert plan.credits == sum(by_hand) == frozen(manifest).credits
    assert manifest.pricing.usd(plan.credits) == usd * sum(by_hand)
    change = compare(manifest, valid(later))
    differences = [one.difference for one in change.jobs]
    assert change.before.credits + sum(differences) == change.after.credits
    assert sum(len(change.having(kind)) for kind in Kind) == len(change.jobs)


requests = st.builds(
    JobRequest,
    prompt=st.text(min_size=1),
    image_url=st.text(),
    video_url=st.text(),
    character_orientation=st.sampled_from(["video", "image"]),
    quality_mode=st.sampled_from(["720p", "1080p"]),
    duration_seconds=st.integers(3, 30),
)
credits_ = st.integers(0, 10**9)
saved_plans = st.builds(
    SavedPlan,
    created_at=st.just("2026-11-23T10:00:00+00:00"),
    name=st.text(min_size=1),
    path=st.text(min_size=1),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    serial=st.integers(0, 2**63 - 1),  # SQLite has no more
    simulated=st.booleans(),
    service=st.text(),
    contract=st.sampled_from(["canonical", "legacy"]),
    submissions_per_hour=st.integers(1, 1000),
    max_in_flight=st.integers(1, 1000),
    pricing=st.builds(
        Pricing,
        as_of=st.none() | st.dates(),
        credits_per_second=st.fixed_dictionaries(
            {"720p": st.integers(1, 1000), "1080p": st.integers(1, 1000)}
        ),
        usd_per_credit=st.decimals("0.000001", "1000", allow_nan=False, allow_infinity=False),
    ),
    budget=st.builds(Budget, st.none() | credits_, st.none() | credits_),
    wishes=st.builds(
        Wishes,
        only=st.lists(st.text()).map(tuple),
        retry_failed=st.booleans(),
        redo_changed=st.booleans(),
    ),
    max_credits=st.none() | credits_,
    jobs=st.lists(
        st.builds(
            lambda request, **rest: SavedJob(
                request=request, fingerprint=request.fingerprint(), **rest
            ),
            request=requests,
            id=st.text(min_size=1),
            action=st.sampled_from(Action),
            reason=st.text(),
            credits=credits_,
            output=st.text(),
            renamed_from=st.none() | st.text(min_size=1),
        ),
        max_size=4,
        unique_by=lambda job: job.id,
    ).map(tuple),
)


@QUICK
@given(saved_plans, st.booleans())
def test_a_saved_plan_comes_back_as_it_was(saved: SavedPlan, ascii_only: bool) -> None:
    text = json.dumps(as_json(saved), ensure_ascii=ascii_only)
    back = read_saved(text.encode(errors="surrogatepass" if not ascii_only else "strict"))
    assert back == saved
    assert back is not None
    assert moved_on(back, saved) is None


@QUICK
@given(st.binary())
def test_no_bytes_make_the_reader_crash(noise: bytes) -> None:
    assert read_saved(noise) is None
    assert read_saved(b"{" + noise) is None
