"""Ids come from names: no order in the file changes them, and the same file gives the same jobs."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.documents import documents, load, shuffled

from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.model import Job, Manifest

QUICK = settings(max_examples=40, deadline=None)


def by_id(manifest: Manifest) -> dict[str, Job]:
    return {job.id: job for job in manifest.jobs}


@QUICK
@given(documents(), st.randoms(use_true_random=False))
def test_no_reordering_changes_any_job(document: dict[str, Any], rng: random.Random) -> None:
    try:
        first = load(document)
    except ManifestInvalid:
        assume(False)
    assert by_id(load(shuffled(document, rng))) == by_id(first)


@QUICK
@given(documents())
def test_the_same_manifest_gives_the_same_jobs_and_every_id_once(document: dict[str, Any]) -> None:
    try:
        first = load(document)
    except ManifestInvalid:
        assume(False)
    assert load(document) == first
    assert len({job.id.lower() for job in first.jobs}) == len(first.jobs)
    assert len({job.output.lower() for job in first.jobs}) == len(first.jobs)


@QUICK
@given(documents())
def test_adding_an_image_leaves_the_other_jobs_as_they_are(document: dict[str, Any]) -> None:
    try:
        before = by_id(load(document))
        document["images"]["zzzzzz"] = "https://cdn.example.com/zzzzzz.png"
        after = by_id(load(document))
    except ManifestInvalid:
        assume(False)
    assert before.items() <= after.items()
