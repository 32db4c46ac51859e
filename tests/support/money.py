"""The four promises at the head of the fault matrix, held against the simulator's own ledger."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from kling_batch.errors import ExitCode
from kling_batch.execution.submission import adopted, not_made
from kling_batch.simulator.faults import FaultScript
from kling_batch.simulator.jobs import Charge
from kling_batch.state.opening import Identity, writing
from kling_batch.state.store import Attempt
from support.bench import Bench

FOREIGN = "another program's"


def assert_bought_once(bench: Bench, jobs: int) -> None:
    """No request was paid for more often than jobs asked for it, nor without an intent."""
    attempts = bench._attempts()  # the state opens
    answered = {job_id for attempt in attempts for job_id in attempt.job_ids}
    on_record = {record.job_id for record in bench.records().values()}
    assert answered <= on_record, "an id that was answered is on no record"
    bought = Counter(
        fingerprint
        for fingerprint, _ in {
            (charge.request.fingerprint(), charge.submission)
            for charge in bench.simulator.ledger
            if not is_foreign(charge)
        }
    )
    intents = Counter(attempt.fingerprint for attempt in attempts)
    assert not bought - intents, "a job was paid for without an intent"
    assert sum(bought.values()) <= jobs, "a job was paid for twice"


def is_foreign(charge: Charge) -> bool:
    """Whether another program bought it."""
    return charge.prompt.startswith(FOREIGN)


def assert_finishes(bench: Bench, jobs: int, **settings: Any) -> None:
    """With the faults gone, the same command brings the batch to its end, buying each job once."""
    bench.simulator.script(FaultScript())
    bench.clock.sleep(4 * 3600.0)
    result = bench.run(**settings)
    assert result.exit_code is ExitCode.DONE, (result, bench.states())
    assert_bought_once(bench, jobs)
    records = bench.records()
    assert len([r for r in records.values() if r.extra_of is None]) == jobs
    for record in records.values():
        assert record.state.value == "downloaded"
        assert (bench.folder / record.output).read_bytes()[4:8] == b"ftyp"
    paid = {c.job_id for c in bench.simulator.ledger if not is_foreign(c)}
    assert paid <= {record.job_id for record in records.values()}, "a paid job is on no record"


def post(bench: Bench, prompt: str, **changes: Any) -> str:
    """Another program of the same account submits a job like `j1`; returns its id."""
    from kling_batch.service.transport import HttpRequest

    body = {
        "model_slug": "kling_3_0_motion_control",
        "prompt": prompt,
        "input_image_urls": ["https://cdn.example.com/knight.png"],
        "input_video_urls": ["https://cdn.example.com/waltz.mp4"],
        "character_orientation": "video",
        "quality_mode": "720p",
        "duration_seconds": 5,
        **changes,
    }
    headers = {"content-type": "application/json", "authorization": "Bearer key"}
    answer = bench.simulator.handle(
        HttpRequest("POST", "/api/v1/video-studio/generate/", headers, json.dumps(body).encode())
    )
    return str(answer.json()["job_ids"][0])


def resolve(bench: Bench, job: str, *, job_id: str = "", forget: bool = False) -> None:
    """The user's word on an unknown submission, as the command of that name takes it."""
    identity = Identity("batch", "batch.yaml")
    with writing(bench.state_file, identity, bench.clock.now()) as store:
        record, now = store.records()[job], bench.clock.now()
        attempt: Attempt = store.attempts()[job]
        if job_id:
            settlement = adopted(record, attempt, job_id, now)
        else:
            resolution = "forgotten" if forget else "not charged"
            settlement = not_made(record, attempt, resolution, now)
        store.settle(settlement.attempt, settlement.records, settlement.happenings)
