"""What holds for every request and every job, whatever their values."""

from __future__ import annotations

import json
import queue
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from kling_batch.service.transport import HttpRequest, HttpResponse
from kling_batch.simulator.account import FAIL_WORD
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.fields import Refused, read_submission
from kling_batch.simulator.jobs import job_id, job_takes
from kling_batch.simulator.results import StoredFile, serve_file

T = TypeVar("T")
PATHS = (
    "/api/v1/video-studio/generate/",
    "/api/v1/video-studio/status/",
    "/api/v1/video-studio/history/",
    "/api/v1/generate/video/",
    "/api/v1/generate/",
    "/results/",
    "/simulator/ledger",
    "/simulator/top-up",
)
FIELDS = (
    "model_slug",
    "prompt",
    "input_image_urls",
    "input_video_urls",
    "character_orientation",
    "quality_mode",
    "duration_seconds",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
GOOD: dict[str, Any] = {
    "model_slug": "kling_3_0_motion_control",
    "prompt": "A fox",
    "input_image_urls": ["https://example.org/a.png"],
    "input_video_urls": ["https://example.org/a.mp4"],
    "quality_mode": "720p",
    "duration_seconds": 5,
}


class Stillness:
    """A clock that a test sets."""

    era = "test"
    at = 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.at

    def steady(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        raise AssertionError("the stand-in waits for nothing")


def call(simulator: Simulator, method: str, path: str, body: bytes = b"") -> HttpResponse:
    headers = {"authorization": "Bearer key", "content-type": "application/json"}
    return simulator.handle(HttpRequest(method, path, headers, body))


def submit(simulator: Simulator, **changes: Any) -> HttpResponse:
    body = json.dumps({**GOOD, **changes}).encode()
    return call(simulator, "POST", PATHS[0], body)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "BREW"]),
    path=st.sampled_from(PATHS),
    tail=st.text(max_size=20),
    headers=st.dictionaries(
        st.sampled_from(["authorization", "content-type", "range", "if-range", "host"]), st.text()
    ),
    body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_request_is_a_server_error(
    method: str, path: str, tail: str, headers: dict[str, str], body: bytes
) -> None:
    answer = Simulator(Stillness()).handle(HttpRequest(method, path + tail, headers, body))
    assert 200 <= answer.status < 500


@given(name=st.sampled_from(FIELDS), value=JSON)
def test_a_field_is_refused_or_within_the_contract(name: str, value: Any) -> None:
    body = json.dumps({**GOOD, name: value}).encode()
    try:
        request = read_submission(body, "application/json", "canonical")
    except Refused:
        return
    assert 3 <= request.duration_seconds <= 30
    assert 1 <= len(request.prompt) <= 2500
    assert request.character_orientation in ("video", "image")


@given(
    content=st.binary(min_size=1, max_size=60),
    first=st.integers(0, 80),
    last=st.none() | st.integers(0, 80),
)
def test_a_range_is_a_slice_or_not_satisfiable(
    content: bytes, first: int, last: int | None
) -> None:
    file = StoredFile(content, "video/mp4", "1", 0.0)
    asked = f"bytes={first}-{'' if last is None else last}"
    answer = serve_file(file, {"range": asked})
    wanted = content[first:] if last is None else content[first : last + 1]
    assert answer.status == (206 if wanted else 416)
    if wanted:
        assert answer.body == wanted


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["720p", "1080p"]),
            st.integers(3, 30),
            st.booleans(),
            st.floats(0, 60),
        ),
        max_size=12,
    )
)
@settings(max_examples=50)
def test_no_credit_appears_or_is_lost(steps: list[tuple[str, int, bool, float]]) -> None:
    clock = Stillness()
    simulator = Simulator(clock, balance=2_000, submissions_per_hour=None)
    for quality, seconds, fails, pause in steps:
        prompt = f"A fox {FAIL_WORD}" if fails else "A fox"
        submit(simulator, quality_mode=quality, duration_seconds=seconds, prompt=prompt)
        clock.sleep(pause)
        kept = sum(charge.credits for charge in simulator.ledger if not charge.refunded)
        assert simulator.balance == 2_000 - kept >= 0
    clock.sleep(200)
    assert all(charge.refunded == (FAIL_WORD in charge.prompt) for charge in simulator.ledger)


@given(seed=st.integers(), number=st.integers(0, 10**6))
def test_jobs_take_about_as_long_as_they_should(seed: int, number: int) -> None:
    name = job_id(seed, number)
    assert name == job_id(seed, number)
    assert 52.5 <= job_takes(name, 75.0) <= 97.5


def test_a_status_never_goes_back() -> None:
    clock = Stillness()
    simulator = Simulator(clock)
    job = submit(simulator).json()["job_ids"][0]
    seen = []
    for _ in range(50):
        answer = call(simulator, "GET", f"/api/v1/video-studio/status/{job}/")
        seen.append(answer.json()["job"]["status"])
        clock.sleep(2)
    assert list(dict.fromkeys(seen)) == ["pending", "processing", "completed"]
    assert seen == sorted(seen, key=["pending", "processing", "completed"].index)


def test_two_simulators_with_one_seed_make_the_same_jobs() -> None:
    one, other = Simulator(Stillness(), seed=4), Simulator(Stillness(), seed=4)
    assert submit(one).json() == submit(other).json()
    assert submit(one).json() != submit(Simulator(Stillness(), seed=5)).json()
