"""Ids come from names: no order in the file changes them, and the same file gives the same jobs."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.model import Job, Manifest

QUICK = settings(max_examples=40, deadline=None)
names = st.from_regex(r"[a-z][a-z0-9]{0,4}", fullmatch=True)
axes = st.fixed_dictionaries(
    {},
    optional={
        "quality_mode": st.permutations(["720p", "1080p"]),
        "duration_seconds": st.lists(st.integers(3, 30), min_size=1, max_size=3, unique=True),
        "vars.weather": st.lists(names, min_size=1, max_size=3, unique=True),
        "vars.n": st.lists(st.integers(-5, 5), min_size=1, max_size=2, unique=True),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    images = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    videos = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    pair = st.fixed_dictionaries(
        {"image": st.sampled_from(images), "video": st.sampled_from(videos)},
        optional={"id": names, "takes": st.integers(1, 3), "duration_seconds": st.integers(3, 30)},
    )
    return {
        "version": 1,
        "defaults": {
            "quality_mode": "720p",
            "duration_seconds": 5,
            "prompt": "{{ image.name }} {{ video.name }} {{ id }} {{ take }}",
        },
        "images": {name: f"https://cdn.example.com/{name}.png" for name in images},
        "videos": {name: f"https://cdn.example.com/{name}.mp4" for name in videos},
        "pairs": draw(st.lists(pair, max_size=4)),
        "matrix": [
            {"images": "*", "videos": draw(st.permutations(videos)), "with": draw(axes)},
        ],
    }


def load(document: Any) -> Manifest:
    return load_manifest(Path("made.yaml"), text=json.dumps(document).encode())


def shuffled(value: Any, rng: random.Random) -> Any:
    """The same document in another order, of keys and of lists."""
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    if isinstance(value, list):
        items = [shuffled(item, rng) for item in value]
        rng.shuffle(items)
        return items
    return value


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
