"""Stands in for the internet in simulated runs: draws the inputs, so that the page has pictures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from kling_batch.files import write_whole
from kling_batch.planning.plan import Plan
from kling_batch.report.page import copy_name

INPUTS_MAX = 60  # what a page of a large trial shows first; drawing takes 10 ms each


def draw_inputs(plan: Plan, folder: Path) -> None:
    """Put a picture for each image and a clip for each motion into the folder's `inputs/`."""
    from kling_batch.simulator.media import mp4, png

    wanted: dict[str, Callable[[], bytes]] = {}
    for one in plan.jobs:
        if one.job is not None:
            request, job = one.request, one.job
            wanted[copy_name(request.image_url, ".png")] = partial(png, job.image)
            clip = partial(mp4, request.duration_seconds, job.video)
            wanted[copy_name(request.video_url, ".mp4")] = clip
    with suppress(OSError):  # pictures are no reason to stop a run
        (folder / "inputs").mkdir(parents=True, exist_ok=True)
        for path, draw in list(wanted.items())[:INPUTS_MAX]:
            if not (folder / path).exists():
                write_whole(folder / path, draw())
