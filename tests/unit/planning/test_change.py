"""What an edit changes: every job is in one kind, and kinds that make nothing cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import jobs

from kling_batch.manifest.load import load_manifest
from kling_batch.model import Manifest
from kling_batch.planning.change import Kind, compare


def load(text: str) -> Manifest:
    return load_manifest(Path("m.yaml"), text=text.encode())


@pytest.mark.parametrize(
    ("old", "new", "kind", "before", "after", "to_make"),
    [
        ("number 2", "number two", Kind.CHANGED, 60, 60, 60),
        ("id: j2", "duration_seconds: 6, id: j2", Kind.CHANGED, 60, 72, 72),
        ("id: j2", "id: hero", Kind.RENAMED, 60, 60, 0),
    ],
)
def test_an_edited_job_is_of_one_kind(old, new, kind, before, after, to_make):
    change = compare(load(jobs(2)), load(jobs(2).replace(old, new)))
    [job] = change.jobs
    assert (job.kind, job.before, job.after, change.to_make) == (kind, before, after, to_make)


def test_added_and_removed_are_priced_by_their_own_rates():
    dear = jobs(3, "pricing: {credits_per_second: {720p: 100}}\n").replace("id: j1", "id: k1")
    change = compare(load(jobs(2)), load(dear.replace("number 1", "another")))
    assert {(job.id, job.kind, job.before, job.after) for job in change.jobs} == {
        ("k1", Kind.ADDED, None, 500),
        ("j2", Kind.REPRICED, 60, 500),
        ("j3", Kind.ADDED, None, 500),
        ("j1", Kind.REMOVED, 60, None),
    }
    assert change.rates == ("720p: 12 → 100 credits a second",)
    assert change.to_make == 1000


def test_what_was_not_there_is_all_added():
    change = compare(None, load(jobs(2)))
    assert [job.kind for job in change.jobs] == [Kind.ADDED, Kind.ADDED]
    assert (change.before.jobs, change.before.credits) == (0, 0)


def test_one_dropped_job_stands_for_one_new_id():
    twice = jobs(1) + "  - {id: k2, image: knight, video: waltz, prompt: 'number 1'}\n"
    change = compare(load(jobs(1)), load(twice.replace("id: j1", "id: k1")))
    assert [(job.id, job.kind, job.was) for job in change.jobs] == [
        ("k1", Kind.RENAMED, "j1"),
        ("k2", Kind.ADDED, None),
    ]
