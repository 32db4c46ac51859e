"""The service's two contracts: how a request is written and what an answer says.

Facts from the service's documentation (api/CONTRACT.md); everything here is pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Protocol

from kling_batch.model import MODEL, Contract, JobRequest
from kling_batch.service.transport import HttpRequest
from kling_batch.structs import dataclass

HISTORY_PAGE = 100
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_MAX_CREDITS = 10**9
# Where a history may keep its jobs.
_LISTS = ("jobs", "results", "history", "items", "data")
_MAX_TEXT = 500


class Unreadable(ValueError):
    """An answer that does not say what its contract promises."""


class Phase(Enum):
    """How far the service is with a job. Any word that is not terminal is `PROCESSING`."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the service answered to a submission. Credits are None where it does not tell them."""

    job_ids: tuple[str, ...]
    credits_remaining: int | None = None
    credits_used: int | None = None


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job as the service tells it, in a status or in the history.

    `refunded` is a number of credits, or True where the service only says that it refunded.
    `created_at` is seconds since the epoch.
    """

    job_id: str
    phase: Phase
    result_urls: tuple[str, ...] = ()
    credits_charged: int | None = None
    refunded: int | bool | None = None
    error: str = ""
    created_at: float | None = None
    prompt: str | None = None
    quality_mode: str | None = None
    duration_seconds: int | None = None
    image_urls: tuple[str, ...] = ()
    video_urls: tuple[str, ...] = ()


class ContractShape(Protocol):
    """One way of speaking with the service."""

    name: Contract

    def submission(self, request: JobRequest) -> HttpRequest:
        """The POST that buys this request."""

    def receipt(self, body: Any) -> Receipt:
        """What the answer to that POST says; raises Unreadable."""

    def status_path(self, job_id: str) -> str:
        """Where the job's status is read."""

    def status(self, body: Any, job_id: str) -> RemoteJob:
        """What a status answer says of that job; raises Unreadable."""


class Canonical:
    """``/api/v1/video-studio/…``, the documented contract."""

    name: Contract = "canonical"

    def submission(self, request: JobRequest) -> HttpRequest:
        return _post(
            "/api/v1/video-studio/generate/",
            {
                "model_slug": MODEL,
                "input_image_urls": [request.image_url],
                "input_video_urls": [request.video_url],
                **_settings(request),
            },
        )

    def receipt(self, body: Any) -> Receipt:
        answer = _successful(body)
        told = answer.get("job_ids")
        ids = [one for one in map(_id_or_none, told if isinstance(told, list) else []) if one]
        if not ids:
            raise Unreadable("no job ids in the answer")
        return Receipt(
            job_ids=tuple(dict.fromkeys(ids)),
            credits_remaining=_credits(answer.get("credits_remaining_total")),
            credits_used=_credits(answer.get("credits_charged")),
        )

    def status_path(self, job_id: str) -> str:
        return f"/api/v1/video-studio/status/{job_id}/"

    def status(self, body: Any, job_id: str) -> RemoteJob:
        return _remote_job(_successful(body).get("job"), job_id)


class Legacy:
    """``/api/v1/generate/…``, the older contract; its status words come in either case."""

    name: Contract = "legacy"

    def submission(self, request: JobRequest) -> HttpRequest:
        return _post(
            "/api/v1/generate/video/",
            {
                "video_model": MODEL,
                "source_image_urls": [request.image_url],
                "video_urls": [request.video_url],
                **_settings(request),
            },
        )

    def receipt(self, body: Any) -> Receipt:
        data = _mapping(_successful(body).get("data"), "data")
        told = _id_or_none(data.get("generation_id"))
        if told is None:
            raise Unreadable("no generation id in the answer")
        return Receipt(
            job_ids=(told,),
            credits_remaining=_credits(data.get("credits_remaining_total")),
            credits_used=_credits(data.get("credits_used")),
        )

    def status_path(self, job_id: str) -> str:
        return f"/api/v1/generate/{job_id}/"

    def status(self, body: Any, job_id: str) -> RemoteJob:
        answer = _mapping(body, "the answer")
        nested = answer.get("data")
        return _remote_job(nested if isinstance(nested, dict) else answer, job_id)


CONTRACTS: Mapping[Contract, ContractShape] = {"canonical": Canonical(), "legacy": Legacy()}


def history_path(offset: int) -> str:
    """Where a page of the account's recent jobs is read, newest first."""
    return f"/api/v1/video-studio/history/?limit={HISTORY_PAGE}&offset={offset}"


def history_page(body: Any) -> tuple[RemoteJob, ...]:
    """The jobs of one page of the history; raises Unreadable.

    Its shape is not documented, so the list may be the answer or stand under one of a few
    names. A job that can't be read makes the page unreadable: it might be the one looked for.
    """
    if isinstance(body, list):
        return tuple(_remote_job(one, None) for one in body)
    answer = _mapping(body, "the history")
    lists = [answer[name] for name in _LISTS if isinstance(answer.get(name), list)]
    if len(lists) != 1 or answer.get("success") is False:
        raise Unreadable(error_text(answer) or "no jobs in the history")
    return tuple(_remote_job(one, None) for one in lists[0])


def error_text(body: Any) -> str:
    """The reason that a refusal gives, at most 500 characters; empty where it gives none."""
    if not isinstance(body, dict):
        return ""
    for key in ("error", "message", "detail", "error_message"):
        value = body.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return value.strip()[:_MAX_TEXT]
    return ""


def _settings(request: JobRequest) -> dict[str, Any]:
    return {
        "prompt": request.prompt,
        "character_orientation": request.character_orientation,
        "quality_mode": request.quality_mode,
        "duration_seconds": request.duration_seconds,
    }


def _post(path: str, body: Mapping[str, Any]) -> HttpRequest:
    return HttpRequest(
        "POST", path, {"content-type": "application/json"}, json.dumps(body).encode()
    )


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is no JSON object")
    return value


def _successful(body: Any) -> Mapping[str, Any]:
    answer = _mapping(body, "the answer")
    if answer.get("success") is not True:
        raise Unreadable(error_text(answer) or "the answer does not say success")
    return answer


def _id_or_none(value: Any) -> str | None:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return text if _JOB_ID.match(text) else None


def _credits(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # NaN fails both comparisons; a figure beyond any account is noise, not a balance.
    if not 0 <= value <= _MAX_CREDITS:
        return None
    return int(value)


def _id_of(job: Mapping[str, Any]) -> str | None:
    told = (_id_or_none(job.get(key)) for key in ("job_id", "generation_id", "id"))
    return next((one for one in told if one), None)


def _remote_job(value: Any, expected: str | None) -> RemoteJob:
    job = _mapping(value, "the job")
    job_id = _id_of(job) or expected
    if job_id is None or (expected is not None and job_id != expected):
        raise Unreadable("the answer is about another job")
    meta = job.get("provider_meta")
    meta = meta if isinstance(meta, dict) else {}
    return RemoteJob(
        job_id=job_id,
        phase=_phase(job.get("status")),
        result_urls=_result_urls(job),
        credits_charged=_first_credits(job, ("credits_charged", "credits_used")),
        refunded=_refund(job.get("credits_refunded")),
        error=error_text(job),
        created_at=_time(job.get("created_at")),
        prompt=_text(job.get("prompt")),
        quality_mode=_text(meta.get("quality_mode")) or _text(job.get("quality_mode")),
        duration_seconds=_credits(meta.get("effective_duration_seconds"))
        or _credits(job.get("duration_seconds")),
        image_urls=_urls(job.get("input_image_urls") or job.get("source_image_urls")),
        video_urls=_urls(job.get("input_video_urls") or job.get("video_urls")),
    )


def _phase(word: Any) -> Phase:
    if not isinstance(word, str):
        raise Unreadable("a job without a status")
    try:
        return Phase(word.strip().lower())
    except ValueError:
        return Phase.PROCESSING


def _result_urls(job: Mapping[str, Any]) -> tuple[str, ...]:
    listed = _urls(job.get("result_urls"))
    if listed:
        return listed
    for key in ("video_url", "output_url", "download_url"):
        if isinstance(job.get(key), str) and job[key]:
            return (job[key],)
    return ()


def _urls(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(one for one in value if isinstance(one, str) and one)
    return ()


def _first_credits(job: Mapping[str, Any], keys: Sequence[str]) -> int | None:
    return next((found for key in keys if (found := _credits(job.get(key))) is not None), None)


def _refund(value: Any) -> int | bool | None:
    return value if isinstance(value, bool) else _credits(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
