"""The shapes of the service's answers, under both contracts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from kling_batch.model import (
    DURATION_MAX,
    DURATION_MAX_IMAGE,
    DURATION_MIN,
    MODEL,
    PROMPT_MAX,
    Pricing,
)
from kling_batch.service.transport import HttpResponse
from kling_batch.simulator.jobs import Charge, SimulatedJob, Stage

FAILURE = "The motion could not be transferred"
LEGACY_MODEL = "kling30_motion"


def json_answer(status: int, content: object, **headers: str) -> HttpResponse:
    """A JSON answer; header names in keyword form (``retry_after``)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(content).encode()
    return HttpResponse(status, {"content-type": "application/json", **named}, body)


def refusal(status: int, reason: str, **headers: str) -> HttpResponse:
    return json_answer(status, {"success": False, "error": reason}, **headers)


def accepted(jobs: Sequence[str], balance: int) -> HttpResponse:
    content = {"success": True, "job_ids": list(jobs), "credits_remaining_total": balance}
    return json_answer(200, content)


def legacy_accepted(job: SimulatedJob, told: str | None) -> HttpResponse:
    data = {
        "generation_id": told,
        "generation_type": "video",
        "video_model": LEGACY_MODEL,
        "mode": "image-to-video",
        "status": "processing",
        "credits_used": job.credits,
    }
    if told is None:
        del data["generation_id"]
    return json_answer(200, {"success": True, "data": data})


def canonical_job(
    job: SimulatedJob, stage: Stage, refunded: bool, urls: Sequence[str]
) -> dict[str, Any]:
    """A job as the canonical status tells it."""
    ended = stage in (Stage.COMPLETED, Stage.FAILED)
    shown: dict[str, Any] = {
        "job_id": job.id,
        "model_slug": MODEL,
        "mode": "motion_control",
        "status": stage.value,
        "result_urls": list(urls),
        "credits_charged": job.credits,
        "provider_meta": {
            "effective_duration_seconds": job.request.duration_seconds,
            "quality_mode": job.request.quality_mode,
        },
        "created_at": timestamp(job.created_at),
        "completed_at": timestamp(job.finished_at) if ended else None,
    }
    if stage is Stage.FAILED:
        shown |= {"error_message": FAILURE, "credits_refunded": refunded}
    return shown


def legacy_generation(
    job: SimulatedJob, stage: Stage, refunded: bool, urls: Sequence[str], progress: float
) -> dict[str, Any]:
    """A job as the legacy status tells it: upper-case words, one link, credits as numbers."""
    shown: dict[str, Any] = {"id": job.id, "credits_used": job.credits}
    if stage is Stage.COMPLETED:
        shown["status"] = "COMPLETED"
        if urls:
            shown |= {"video_url": urls[0], "download_url": urls[0]}
    elif stage is Stage.FAILED:
        shown |= {
            "status": "FAILED",
            "error": {"code": "GENERATION_FAILED", "message": FAILURE},
            "credits_refunded": job.credits if refunded else 0,
        }
    else:
        shown |= {"status": "GENERATING", "progress": f"{progress:.2f}"}
    return shown


def models() -> HttpResponse:
    """What the account may use. Its shape is not documented; this one is the stand-in's own."""
    rates = Pricing().credits_per_second
    model = {
        "slug": MODEL,
        "mode": "motion_control",
        "prompt_max_length": PROMPT_MAX,
        "duration_seconds": {
            "min": DURATION_MIN,
            "max": DURATION_MAX,
            "max_for_image_orientation": DURATION_MAX_IMAGE,
        },
        "quality_modes": list(rates),
        "character_orientations": ["video", "image"],
        "credits_per_second": dict(rates),
    }
    return json_answer(200, {"success": True, "models": [model]})


def ledger_line(charge: Charge) -> dict[str, Any]:
    """A charge for tests that read the ledger over HTTP."""
    request = charge.request
    return {
        "job_id": charge.job_id,
        "at": charge.at,
        "credits": charge.credits,
        "refunded": charge.refunded,
        "contract": charge.contract,
        "submission": charge.submission,
        "fingerprint": request.fingerprint(),
        "prompt": request.prompt,
        "image_url": request.image_url,
        "video_url": request.video_url,
        "character_orientation": request.character_orientation,
        "quality_mode": request.quality_mode,
        "duration_seconds": request.duration_seconds,
    }


def timestamp(at: float) -> str:
    """ISO 8601 in UTC with microseconds, as the service writes it."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="microseconds")
