"""Both contracts: what is asked, and what every shape of answer says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kling_batch.model import JobRequest
from kling_batch.service.contracts import (
    CONTRACTS,
    Phase,
    Receipt,
    Unreadable,
    error_text,
    history_page,
)

CANONICAL, LEGACY = CONTRACTS["canonical"], CONTRACTS["legacy"]
REQUEST = JobRequest("a fox", "https://x/i.png", "https://x/v.mp4", "image", "1080p", 7)


def test_the_canonical_request_is_as_documented() -> None:
    request = CANONICAL.submission(REQUEST)
    assert (request.method, request.path) == ("POST", "/api/v1/video-studio/generate/")
    assert json.loads(request.body) == {
        "model_slug": "kling_3_0_motion_control",
        "prompt": "a fox",
        "input_image_urls": ["https://x/i.png"],
        "input_video_urls": ["https://x/v.mp4"],
        "character_orientation": "image",
        "quality_mode": "1080p",
        "duration_seconds": 7,
    }


def test_the_legacy_request_is_as_documented() -> None:
    request = LEGACY.submission(REQUEST)
    assert (request.method, request.path) == ("POST", "/api/v1/generate/video/")
    assert json.loads(request.body) == {
        "video_model": "kling_3_0_motion_control",
        "prompt": "a fox",
        "source_image_urls": ["https://x/i.png"],
        "video_urls": ["https://x/v.mp4"],
        "character_orientation": "image",
        "quality_mode": "1080p",
        "duration_seconds": 7,
    }


def test_a_receipt_tells_ids_and_credits() -> None:
    answer = {"success": True, "job_ids": ["a", "b", "a"], "credits_remaining_total": 438}
    assert CANONICAL.receipt(answer) == Receipt(("a", "b"), 438)
    legacy = {"success": True, "data": {"generation_id": "g", "credits_used": 180}}
    assert LEGACY.receipt(legacy) == Receipt(("g",), None, 180)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        7,
        {},
        {"job_ids": ["a"]},
        {"success": False, "job_ids": ["a"]},
        {"success": "true", "job_ids": ["a"]},
        {"success": True},
        {"success": True, "job_ids": []},
        {"success": True, "job_ids": "a"},
        {"success": True, "job_ids": {"a": 1}},
        {"success": True, "job_ids": [None, True, 1.5, "", " ", "a b", "../a", "x" * 200]},
    ],
)
@pytest.mark.parametrize("contract", [CANONICAL, LEGACY], ids=["canonical", "legacy"])
def test_what_is_no_receipt_is_unreadable(contract: Any, answer: Any) -> None:
    with pytest.raises(Unreadable):
        contract.receipt(answer)


@pytest.mark.parametrize(
    "credits", [float("nan"), float("inf"), -1, 10**30, "12", None, True, [], {}]
)
def test_credits_that_are_none_are_not_told(credits: Any) -> None:
    answer = {"success": True, "job_ids": ["a"], "credits_remaining_total": credits}
    assert CANONICAL.receipt(answer).credits_remaining is None


def test_the_documented_status_is_read() -> None:
    job = CANONICAL.status(
        {
            "success": True,
            "job": {
                "job_id": "8990f846",
                "model_slug": "kling_3_0_motion_control",
                "mode": "motion_control",
                "status": "completed",
                "result_urls": ["https://media.ulazai.com/r.mp4"],
                "credits_charged": 180,
                "provider_meta": {"effective_duration_seconds": 15, "quality_mode": "720p"},
                "created_at": "2026-02-20T12:40:01.123456+00:00",
                "completed_at": "2026-02-20T12:41:22.948211+00:00",
            },
        },
        "8990f846",
    )
    assert job.phase is Phase.COMPLETED
    assert job.result_urls == ("https://media.ulazai.com/r.mp4",)
    assert (job.credits_charged, job.duration_seconds, job.quality_mode) == (180, 15, "720p")
    assert job.created_at == pytest.approx(1771591201.123456)


def test_the_documented_failure_is_read() -> None:
    job = CANONICAL.status(
        {
            "success": True,
            "job": {
                "job_id": "b1",
                "status": "failed",
                "error_message": "Invalid duration for this model",
                "credits_refunded": True,
            },
        },
        "b1",
    )
    assert (job.phase, job.refunded) == (Phase.FAILED, True)
    assert job.error == "Invalid duration for this model"


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("GENERATING", Phase.PROCESSING),
        ("COMPLETED", Phase.COMPLETED),
        ("FAILED", Phase.FAILED),
        ("Pending", Phase.PENDING),
        (" completed\n", Phase.COMPLETED),
        ("cancelled", Phase.PROCESSING),
        ("", Phase.PROCESSING),
    ],
)
@pytest.mark.parametrize("contract", [CANONICAL, LEGACY], ids=["canonical", "legacy"])
def test_status_words_are_taken_in_either_case(contract: Any, word: str, phase: Phase) -> None:
    told = {"job_id": "g", "status": word}
    assert contract.status({"success": True, "job": told, **told}, "g").phase is phase


@pytest.mark.parametrize("word", [None, 1, ["completed"], {}])
def test_a_status_that_is_no_word_is_unreadable(word: Any) -> None:
    with pytest.raises(Unreadable):
        CANONICAL.status({"success": True, "job": {"status": word}}, "g")


@pytest.mark.parametrize("key", ["result_urls", "video_url", "output_url", "download_url"])
@pytest.mark.parametrize("nested", [True, False])
def test_the_legacy_result_is_found_under_any_of_its_names(key: str, nested: bool) -> None:
    told = {"status": "COMPLETED", key: ["https://x/r"] if key == "result_urls" else "https://x/r"}
    body = {"success": True, "data": told} if nested else told
    assert LEGACY.status(body, "g").result_urls == ("https://x/r",)


def test_the_legacy_failure_is_read() -> None:
    told = {
        "id": "g",
        "status": "FAILED",
        "error": {"code": "X", "message": "no luck"},
        "credits_refunded": 180,
    }
    job = LEGACY.status(told, "g")
    assert (job.phase, job.error, job.refunded) == (Phase.FAILED, "no luck", 180)


@pytest.mark.parametrize("contract", [CANONICAL, LEGACY], ids=["canonical", "legacy"])
def test_an_answer_about_another_job_is_not_taken(contract: Any) -> None:
    told = {"job_id": "other", "status": "completed"}
    with pytest.raises(Unreadable, match="another job"):
        contract.status({"success": True, "job": told, **told}, "mine")


@pytest.mark.parametrize("urls", [None, "https://x", [None, 7, ""], {}, 5])
def test_urls_that_are_none_are_not_told(urls: Any) -> None:
    told = {"status": "completed", "result_urls": urls}
    assert CANONICAL.status({"success": True, "job": told}, "g").result_urls == ()


ENTRY = {"job_id": "a", "status": "completed", "prompt": "p"}


@pytest.mark.parametrize(
    "body",
    [
        [ENTRY],
        {"success": True, "jobs": [ENTRY]},
        {"jobs": [ENTRY], "count": 1},
        {"results": [ENTRY]},
        {"success": True, "history": [ENTRY]},
        {"items": [{"id": "a", "status": "COMPLETED"}]},
        {"data": [{"generation_id": "a", "status": "COMPLETED"}]},
    ],
)
def test_a_history_may_have_several_shapes(body: Any) -> None:
    assert [job.job_id for job in history_page(body)] == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"success": False, "jobs": []},
        {"success": True, "jobs": {}},
        {"jobs": [], "results": []},
        {"jobs": [ENTRY, None]},
        {"jobs": [ENTRY, {"status": "completed"}]},
        {"jobs": [ENTRY, {"job_id": "b"}]},
        {"jobs": [ENTRY, {"job_id": "b:c", "status": "completed"}]},
    ],
)
def test_a_history_with_anything_unreadable_is_not_half_believed(body: Any) -> None:
    with pytest.raises(Unreadable):
        history_page(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": "a"}, "a"),
        ({"message": " b "}, "b"),
        ({"detail": "c"}, "c"),
        ({"error": {"code": "X", "message": "d"}}, "d"),
        ({"error": ["x"], "detail": "e"}, "e"),
        ({"error": "x" * 1000}, "x" * 500),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_reason_of_a_refusal_is_found(body: Any, text: str) -> None:
    assert error_text(body) == text
