"""Records and views of them, as the gallery's tests use them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timezone

from kling_batch.model import JobRequest
from kling_batch.report.summary import Facts, Found, Report, summarize
from kling_batch.state.records import JobState, Record

EVIL = '</p><script>document.title = "hacked"</script><img src=x onerror="document.title=1">'
FACTS = Facts("spring", "spring.yaml", 1_800_000_000.0, zone=timezone.utc)
REQUEST = JobRequest(
    "a waltz", "https://cdn.example.com/a/knight.png", "https://cdn.example.com/w.mp4",
    "video", "720p", 5,
)  # fmt: skip


def record(job: str = "hero", state: JobState = JobState.DOWNLOADED, **changes: object) -> Record:
    made = Record(
        id=job,
        fingerprint="f",
        request=REQUEST,
        state=state,
        output=f"outputs/spring/{job}.mp4",
        credits_planned=60,
        pair="hero",
        image="knight",
        video="waltz",
        job_id=f"job-{job}",
        attempts=1,
        credits_charged=60,
        submitted_at=1000.0,
        finished_at=1084.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def view(*records: Record, facts: Facts = FACTS, **more: dict[str, str]) -> Report:
    found = {one.id: Found(f"{one.id}.mp4", f"{one.id}.json") for one in records}
    return summarize(records, facts, found, **more)
