"""Measures the gallery page: seconds to write, bytes, and time to first render in Chromium.

python benchmarks/report.py [--jobs 1000 10000] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kling_batch.model import JobRequest
from kling_batch.report.page import find_files, write_report
from kling_batch.report.summary import Facts, summarize
from kling_batch.simulator.media import mp4
from kling_batch.state.records import JobState, Record

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
TEXT = (
    "the quick brown fox jumps over a lazy dog while dancing slowly in warm evening light across "
    "an empty stage with soft shadows and a steady camera"
)
START = 1_795_000_000.0
ENDS = (*[JobState.DOWNLOADED] * 16, JobState.FAILED, JobState.PROCESSING, JobState.PLANNED)


def records(count: int) -> Iterator[Record]:
    """Jobs of one to four takes, most of them done, the same ones each time."""
    rng = random.Random(20261101)
    pair, take, takes = 0, 0, 0
    for index in range(count):
        if take == takes:
            pair, take, takes = pair + 1, 0, rng.choice((1, 1, 1, 2, 3, 4))
            prompt = " ".join(rng.choices(TEXT.split(), k=30))
        take += 1
        yield _record(f"pair-{pair:05d}", take, index, prompt, rng)


def _record(pair: str, take: int, index: int, prompt: str, rng: random.Random) -> Record:
    name = pair if take == 1 else f"{pair}.take{take}"
    state, begun = rng.choice(ENDS), START + 150.0 * index
    ended = state in (JobState.DOWNLOADED, JobState.FAILED)
    sent = ended or state is JobState.PROCESSING
    failed = state is JobState.FAILED
    image, clip = f"character-{pair[-2:]}", f"motion-{pair[-1:]}"
    request = JobRequest(
        prompt,
        f"https://cdn.example.com/images/{image}.png",
        f"https://cdn.example.com/clips/{clip}.mp4",
        "video",
        "720p",
        5,
    )
    return Record(
        id=name,
        fingerprint=request.fingerprint(),
        request=request,
        state=state,
        output=f"outputs/bench/{name}.mp4",
        credits_planned=60,
        pair=pair,
        take=take,
        image=image,
        video=clip,
        job_id=f"{index:08d}-0000-4000-8000-000000000000" if sent else None,
        attempts=int(sent),
        credits_charged=60 if ended else None,
        credits_refunded=60 if failed else None,
        error="the character was not found in the picture" if failed else None,
        sha256=f"{index:064x}" if state is JobState.DOWNLOADED else None,
        submitted_at=begun if sent else None,
        finished_at=begun + rng.uniform(60, 400) if ended else None,
    )


def make_batch(folder: Path, count: int) -> list[Record]:
    """The records, with a video and a receipt for each that is done."""
    made = list(records(count))
    results = folder / "outputs/bench"
    results.mkdir(parents=True)
    clip = folder / "clip.mp4"
    clip.write_bytes(mp4(5))
    for record in made:
        if record.state is JobState.DOWNLOADED:
            (folder / record.output).symlink_to(clip)
            (results / f"{record.id}.json").write_text("{}")
    return made


def measure(folder: Path, count: int) -> Path:
    """Write the page three times and print the best."""
    made, best = make_batch(folder, count), float("inf")
    page = folder / "outputs/bench/index.html"
    facts = Facts("bench", "bench.yaml", START + 150.0 * count)
    for _ in range(3):
        begun = time.perf_counter()
        write_report(page, summarize(made, facts, find_files(folder, page, made)))
        best = min(best, time.perf_counter() - begun)
    size = page.stat().st_size
    print(f"{count:>6} jobs: written in {best:.2f} s, {size / 1e6:.2f} MB", end="")
    return page


def first_render(page: Path) -> str:
    """Milliseconds until Chromium paints something, and until the page is ready for keys."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "not rendered: playwright is not installed"
    if not CHROMIUM.exists():
        return "not rendered: chromium is not installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.goto(page.absolute().as_uri(), wait_until="load")
        paint = tab.evaluate(
            "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        )
        loaded = tab.evaluate("() => performance.getEntriesByType('navigation')[0].loadEventEnd")
        sort = tab.evaluate(
            """() => { const begun = performance.now(); const by = document.getElementById('sort');
            by.value = 'cost'; by.dispatchEvent(new Event('change'));
            document.body.offsetHeight; return performance.now() - begun; }"""
        )
        browser.close()
    return f"first paint {paint:.0f} ms, ready {loaded:.0f} ms, sorted in {sort:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--keep", type=Path, help="leave the pages in this folder")
    arguments = parser.parse_args()
    for count in arguments.jobs:
        folder = Path(tempfile.mkdtemp(prefix="report-", dir=arguments.keep))
        try:
            print(";", first_render(measure(folder, count)))
        finally:
            if not arguments.keep:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
