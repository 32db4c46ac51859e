"""Made-up manifests for property tests, and the same ones in another order."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from kling_batch.manifest.load import load_manifest
from kling_batch.model import Manifest

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
