"""One suite for the stand-in, over both ways to reach it: in process and over a socket."""

from __future__ import annotations

import http.client
import json
import queue
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from kling_batch.service.transport import (
    HttpRequest,
    HttpResponse,
    NothingSent,
    Transport,
    Unanswered,
)
from kling_batch.simulator.account import HistoryMode
from kling_batch.simulator.app import Simulator, as_transport
from kling_batch.simulator.faults import FaultScript
from kling_batch.simulator.server import serve

T = TypeVar("T")
KEY = "ulazai_live_test"
GENERATE, HISTORY = "/api/v1/video-studio/generate/", "/api/v1/video-studio/history/"
LEGACY_GENERATE = "/api/v1/generate/video/"
START = 1_800_000_000.0


class HandClock:
    """Time that passes only when the test says so."""

    era = "test"

    def __init__(self) -> None:
        self.passed = 0.0
        self.wall_jump = 0.0

    def now(self) -> float:
        return START + self.passed + self.wall_jump

    def steady(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds

    def wait_for(self, arrivals: queue.SimpleQueue[T], seconds: float) -> T | None:
        raise AssertionError("the stand-in waits for nothing")


@dataclass
class World:
    """A simulator, its clock, and a client of it."""

    clock: HandClock
    simulator: Simulator
    send: Transport
    body: dict[str, Any] = field(
        default_factory=lambda: {
            "model_slug": "kling_3_0_motion_control",
            "prompt": "A fox dances",
            "input_image_urls": ["https://example.org/fox.png"],
            "input_video_urls": ["https://example.org/dance.mp4"],
            "quality_mode": "720p",
            "duration_seconds": 5,
        }
    )

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        told = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(HttpRequest(method, path, told, b"" if body is None else content))

    def submit(self, **changes: Any) -> HttpResponse:
        return self.call("POST", GENERATE, {**self.body, **changes})

    def submitted(self, **changes: Any) -> str:
        return str(self.submit(**changes).json()["job_ids"][0])

    def legacy_submit(self) -> HttpResponse:
        renamed = {
            "model_slug": "video_model",
            "input_image_urls": "source_image_urls",
            "input_video_urls": "video_urls",
        }
        body = {renamed.get(name, name): value for name, value in self.body.items()}
        return self.call("POST", LEGACY_GENERATE, body)

    def status(self, job: str) -> HttpResponse:
        return self.call("GET", f"/api/v1/video-studio/status/{job}/")

    def job(self, job: str) -> dict[str, Any]:
        return dict(self.status(job).json()["job"])

    def finished(self, **changes: Any) -> tuple[str, str]:
        """The id of a job that is done, and the path of its video."""
        job = self.submitted(**changes)
        self.clock.sleep(100)
        return job, path_of(self.job(job)["result_urls"][0])


def path_of(url: str) -> str:
    return re.sub(r"^http://[^/]+", "", url)


def socket_transport(host: str) -> Transport:
    """A bare client: no retries, no redirects, nothing hidden."""

    def send(request: HttpRequest) -> HttpResponse:
        connection = http.client.HTTPConnection(host, timeout=1)
        try:
            headers = dict(request.headers)
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            body = answer.read(8 << 20)
            if answer.length:
                raise Unanswered("cut")
            told = {name.lower(): value for name, value in answer.getheaders()}
            return HttpResponse(answer.status, told, body)
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(str(error)) from error
        finally:
            connection.close()

    return send


@pytest.fixture(params=["in process", "over a socket"])
def build(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Builds worlds; rules of a fault script may come as plain values."""
    running = []

    def make(rules: Any = (), **options: Any) -> World:
        clock = HandClock()
        script = FaultScript.read(list(rules)) if rules else None
        simulator = Simulator(clock, key=KEY, faults=script, **options)
        if request.param == "in process":
            return World(clock, simulator, as_transport(simulator))
        running.append(serve(simulator))
        return World(clock, simulator, socket_transport(running[-1].url.removeprefix("http://")))

    yield make
    for server in running:
        server.close()


@pytest.fixture
def world(build: Callable[..., World]) -> World:
    return build()


# --- submitting ---------------------------------------------------------------------------------


def test_an_accepted_submission_is_charged_by_the_second(world: World) -> None:
    answer = world.submit(duration_seconds=5).json()
    assert answer["success"] is True
    assert answer["credits_remaining_total"] == 10_000 - 60
    world.submit(quality_mode="1080p", duration_seconds=30)
    assert [charge.credits for charge in world.simulator.ledger] == [60, 600]
    assert world.simulator.balance == 10_000 - 660


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": ""},
        {"prompt": "x" * 2501},
        {"prompt": None},
        {"input_image_urls": []},
        {"input_image_urls": ["https://example.org/a", "https://example.org/b"]},
        {"input_video_urls": ["ftp://example.org/a"]},
        {"input_video_urls": "https://example.org/a"},
        {"quality_mode": "4k"},
        {"character_orientation": None},
        {"duration_seconds": True},
        {"duration_seconds": 3.5},
        {"duration_seconds": 2},
        {"duration_seconds": 31},
        {"duration_seconds": 11, "character_orientation": "image"},
        {"model_slug": 3},
    ],
    ids=str,
)
def test_a_field_out_of_contract_is_refused_and_costs_nothing(
    world: World, changes: dict[str, Any]
) -> None:
    answer = world.submit(**changes)
    assert answer.status == 400
    assert answer.json()["success"] is False
    assert world.simulator.ledger == ()


@pytest.mark.parametrize(
    "name",
    ["model_slug", "prompt", "input_image_urls", "input_video_urls", "quality_mode"],
)
def test_a_missing_field_is_refused(world: World, name: str) -> None:
    del world.body[name]
    assert world.submit().status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"[" * 9999, b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    assert world.call("POST", GENERATE, body).status == 400


def test_another_content_type_is_refused(world: World) -> None:
    assert world.call("POST", GENERATE, world.body, content_type="text/plain").status == 400


def test_a_whole_number_may_be_written_as_a_decimal(world: World) -> None:
    assert world.submit(duration_seconds=3.0).status == 200
    assert world.simulator.ledger[0].request.duration_seconds == 3


def test_an_unknown_model_is_not_found(world: World) -> None:
    assert world.submit(model_slug="kling_9").status == 404


def test_too_few_credits_are_said_with_402_until_topped_up(build: Callable[..., World]) -> None:
    world = build(balance=60)
    assert world.submit().status == 200
    assert world.submit().status == 402
    world.simulator.top_up(60)
    assert world.submit().status == 200
    assert world.simulator.balance == 0


def test_the_hourly_limit_answers_when_it_is_free_again(build: Callable[..., World]) -> None:
    world = build(submissions_per_hour=2)
    world.submit()
    world.clock.sleep(600)
    world.submit()
    refused = world.submit()
    assert (refused.status, refused.headers["retry-after"]) == (429, "3000")
    world.clock.sleep(3000)
    assert world.submit().status == 200
    assert len(world.simulator.ledger) == 3


# --- keys, paths, methods -----------------------------------------------------------------------


@pytest.mark.parametrize("form", [f"Bearer {KEY}", f"Token {KEY}", KEY])
def test_every_form_of_the_key_is_accepted(world: World, form: str) -> None:
    assert world.call("GET", HISTORY, authorization=form).status == 200


@pytest.mark.parametrize("form", ["", "Bearer", "Bearer other", "other"])
def test_a_wrong_key_is_refused(world: World, form: str) -> None:
    assert world.call("GET", HISTORY, authorization=form).status == 401


def test_a_path_without_its_slash_is_redirected_and_does_nothing(world: World) -> None:
    answer = world.call("POST", GENERATE[:-1] + "?a=1", world.body)
    assert (answer.status, answer.headers["location"]) == (301, GENERATE + "?a=1")
    assert world.simulator.ledger == ()


def test_a_wrong_method_is_told_the_right_ones(world: World) -> None:
    answer = world.call("GET", GENERATE)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert world.call("DELETE", HISTORY).headers["allow"] == "GET, HEAD"


def test_an_unknown_path_is_not_found(world: World) -> None:
    assert world.call("GET", "/api/v2/").status == 404


def test_the_model_list_states_the_rates(world: World) -> None:
    model = world.call("GET", "/api/v1/models/video/").json()["models"][0]
    assert model["credits_per_second"] == {"720p": 12, "1080p": 20}


# --- following ----------------------------------------------------------------------------------


def test_a_job_goes_from_pending_through_processing_to_a_video(world: World) -> None:
    job = world.submitted()
    assert world.job(job)["status"] == "pending"
    world.clock.sleep(30)
    assert world.job(job)["status"] == "processing"
    world.clock.sleep(70)
    done = world.job(job)
    assert done["status"] == "completed"
    assert done["credits_charged"] == 60
    assert done["provider_meta"] == {"effective_duration_seconds": 5, "quality_mode": "720p"}
    assert world.call("GET", path_of(done["result_urls"][0])).body[4:8] == b"ftyp"


def test_a_job_that_fails_gives_its_credits_back_when_it_fails(world: World) -> None:
    job = world.submitted(prompt="please [fail] this")
    assert world.simulator.balance == 10_000 - 60
    world.clock.sleep(100)
    failed = world.job(job)
    assert (failed["status"], failed["credits_refunded"]) == ("failed", True)
    assert failed["error_message"]
    assert world.simulator.balance == 10_000
    assert world.simulator.ledger[0].refunded


def test_a_jump_of_the_wall_clock_is_not_a_jump_of_the_service(world: World) -> None:
    job = world.submitted()
    world.clock.wall_jump = 3600
    assert world.job(job)["status"] == "pending"


def test_an_unknown_job_is_not_found(world: World) -> None:
    assert world.status("8990f846-f6f0-4ff1-a298-d0a72d49e7ad").status == 404
    assert world.status("what").status == 404


def test_the_legacy_contract_speaks_its_own_words(world: World) -> None:
    data = world.legacy_submit().json()["data"]
    assert (data["status"], data["credits_used"]) == ("processing", 60)
    path = f"/api/v1/generate/{data['generation_id']}/"
    world.clock.sleep(30)
    running = world.call("GET", path).json()
    assert running["status"] == "GENERATING"
    assert 0 < float(running["progress"]) < 1
    world.clock.sleep(70)
    done = world.call("GET", path).json()
    assert done["status"] == "COMPLETED"
    assert done["video_url"] == done["download_url"]


def test_a_legacy_failure_tells_code_message_and_refund(world: World) -> None:
    world.body["prompt"] = "[fail]"
    generation = world.legacy_submit().json()["data"]["generation_id"]
    world.clock.sleep(100)
    failed = world.call("GET", f"/api/v1/generate/{generation}/").json()
    assert (failed["status"], failed["credits_refunded"]) == ("FAILED", 60)
    assert failed["error"].keys() == {"code", "message"}


# --- history ------------------------------------------------------------------------------------


def prompts(answer: HttpResponse) -> list[str | None]:
    return [job.get("prompt") for job in answer.json()["jobs"]]


def test_the_history_tells_jobs_of_both_contracts_newest_first(world: World) -> None:
    world.submit(prompt="first")
    world.body["prompt"] = "second"
    world.legacy_submit()
    world.submit(prompt="third")
    assert prompts(world.call("GET", HISTORY)) == ["third", "second", "first"]
    assert prompts(world.call("GET", HISTORY + "?limit=1&offset=1")) == ["second"]
    assert prompts(world.call("GET", HISTORY + "?limit=x&offset=-1")) == [
        "third",
        "second",
        "first",
    ]


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (HistoryMode(lag=5), ["old"]),
        (HistoryMode(prompts=False), [None, None]),
        (HistoryMode(keep=1), ["new"]),
    ],
    ids=["lagging", "without prompts", "cut short"],
)
def test_the_history_may_tell_less(
    build: Callable[..., World], mode: HistoryMode, told: list[str | None]
) -> None:
    world = build(history=mode)
    world.submit(prompt="old")
    world.clock.sleep(6)
    world.submit(prompt="new")
    assert prompts(world.call("GET", HISTORY)) == told


def test_the_history_may_be_absent(build: Callable[..., World]) -> None:
    assert build(history=HistoryMode(absent=True)).call("GET", HISTORY).status == 404


# --- results and inputs -------------------------------------------------------------------------


def test_a_result_needs_no_key_and_can_be_resumed(world: World) -> None:
    _, path = world.finished()
    whole = world.call("GET", path, authorization="")
    assert whole.status == 200
    assert whole.headers["accept-ranges"] == "bytes"
    etag, size = whole.headers["etag"], len(whole.body)
    rest = world.call("GET", path, range="bytes=100-", if_range=etag)
    assert (rest.status, rest.headers["content-range"]) == (206, f"bytes 100-{size - 1}/{size}")
    assert whole.body[:100] + rest.body == whole.body
    dated = world.call("GET", path, range="bytes=-5", if_range=whole.headers["last-modified"])
    assert dated.body == whole.body[-5:]


def test_a_changed_validator_gets_the_whole_result(world: World) -> None:
    _, path = world.finished()
    assert world.call("GET", path, range="bytes=100-", if_range='"other"').status == 200


def test_a_range_beyond_the_end_is_not_satisfiable(world: World) -> None:
    _, path = world.finished()
    size = len(world.call("GET", path).body)
    answer = world.call("GET", path, range=f"bytes={size}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")


def test_a_head_tells_the_size_and_sends_nothing(world: World) -> None:
    _, path = world.finished()
    head, whole = world.call("HEAD", path), world.call("GET", path)
    assert (head.body, head.headers["content-length"]) == (b"", str(len(whole.body)))


def test_inputs_are_drawn_for_any_name(world: World) -> None:
    picture = world.call("GET", "/inputs/some%20fox.png", authorization="")
    assert picture.body.startswith(b"\x89PNG")
    assert world.call("GET", "/inputs/walk-15s.mp4").body[4:8] == b"ftyp"
    assert world.call("GET", "/inputs/walk.exe").status == 404


def test_result_links_point_where_they_are_told_to(build: Callable[..., World]) -> None:
    world = build(public_url="https://media.example.org/")
    job = world.submitted()
    world.clock.sleep(100)
    assert world.job(job)["result_urls"][0].startswith("https://media.example.org/results/")


# --- what tests look at -------------------------------------------------------------------------


def test_the_ledger_and_a_top_up_are_there_over_http(world: World) -> None:
    job = world.submitted()
    world.status(job)
    books = world.call("GET", "/simulator/ledger", authorization="").json()
    charge = world.simulator.ledger[0]
    assert books["balance"] == 9_940
    assert books["charges"][0]["fingerprint"] == charge.request.fingerprint()
    assert books["requests"]["POST generate"] == 1
    assert world.simulator.requests["GET", "status"] == 1
    world.call("POST", "/simulator/top-up", {"credits": 60})
    assert world.simulator.balance == 10_000
    assert world.call("POST", "/simulator/top-up", {"credits": "60"}).status == 400


# --- scripted faults ----------------------------------------------------------------------------


def rule(on: str, do: Any, **more: Any) -> dict[str, Any]:
    return {"on": on, "do": do, **more}


@pytest.mark.parametrize(("act", "made"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(
    "do", ["reset", {"timeout": 0.01}, {"respond": {"status": 502, "body": "<h1>Bad</h1>"}}]
)
def test_a_submission_fails_before_or_after_the_service_acted(
    build: Callable[..., World], do: Any, act: str, made: int
) -> None:
    world = build([rule("submit", do, act=act, nth=1)])
    if "respond" in do:
        assert world.submit().status == 502
    else:
        with pytest.raises(Unanswered):
            world.submit()
    assert len(world.simulator.ledger) == made
    assert world.submit().status == 200


def test_a_refused_connection_sends_nothing(build: Callable[..., World]) -> None:
    world = build([rule("submit", "refuse")])
    with pytest.raises((NothingSent, Unanswered)):
        world.submit()
    assert world.simulator.ledger == ()


@pytest.mark.parametrize("do", ["garbage", "success_false", {"redirect": "https://example.org/"}])
def test_an_answer_may_be_replaced(build: Callable[..., World], do: Any) -> None:
    world = build([rule("generate", do, act="after")])
    answer = world.submit()
    assert len(world.simulator.ledger) == 1
    assert b"job_ids" not in answer.body


def test_a_body_may_be_cut_in_the_middle(build: Callable[..., World]) -> None:
    world = build([rule("generate", {"cut": 20})])
    with pytest.raises(Unanswered):
        world.submit()
    assert len(world.simulator.ledger) == 1


def test_json_may_hold_what_json_does_not(build: Callable[..., World]) -> None:
    odd = {"status": 200, "json": {"credits_remaining_total": float("nan")}}
    assert b"NaN" in build([rule("generate", {"respond": odd})]).submit().body


def test_job_ids_may_be_many_none_or_anothers(build: Callable[..., World]) -> None:
    world = build(
        [
            rule("submit", {"job_ids": 3}, nth=2),
            rule("submit", "no_ids", nth=3),
            rule("submit", "same_id", nth=4),
        ]
    )
    first = world.submitted()
    many = world.submit().json()["job_ids"]
    assert len(set(many)) == 3
    assert all(world.status(job).status == 200 for job in many)
    assert world.submit().json()["job_ids"] == []
    assert world.submit().json()["job_ids"] == [first]
    assert len(world.simulator.ledger) == 6
    assert {charge.submission for charge in world.simulator.ledger} == {1, 2, 3, 4}


def test_a_charge_may_differ_from_the_rates(build: Callable[..., World]) -> None:
    world = build([rule("submit", {"charge": 99})])
    job = world.submitted()
    assert world.simulator.balance == 10_000 - 99
    assert world.job(job)["credits_charged"] == 99


def test_more_jobs_than_the_balance_covers_are_not_made(build: Callable[..., World]) -> None:
    world = build([rule("submit", {"job_ids": 3})], balance=120)
    assert world.submit().status == 402
    assert world.simulator.balance == 120


def test_an_answer_is_lost_after_the_work_that_a_rule_shapes(build: Callable[..., World]) -> None:
    world = build([rule("submit", {"charge": 99, "reset": True})])
    with pytest.raises(Unanswered):
        world.submit()
    assert [charge.credits for charge in world.simulator.ledger] == [99]


def test_a_rule_may_be_for_one_prompt(build: Callable[..., World]) -> None:
    world = build([rule("submit", "fail", match="owl")])
    fox, owl = world.submitted(), world.submitted(prompt="An owl dances")
    world.clock.sleep(100)
    assert (world.job(fox)["status"], world.job(owl)["status"]) == ("completed", "failed")


def test_a_stuck_job_never_ends(build: Callable[..., World]) -> None:
    world = build([rule("submit", "stuck")])
    job = world.submitted()
    world.clock.sleep(1e6)
    assert world.job(job)["status"] == "processing"


def test_a_status_may_flap_after_the_end(build: Callable[..., World]) -> None:
    world = build([rule("poll", {"status_word": "processing"}, when="completed", nth=2)])
    job = world.submitted()
    world.job(job)
    world.clock.sleep(100)
    words = [world.job(job)["status"] for _ in range(3)]
    assert words == ["completed", "processing", "completed"]


def test_a_known_job_may_vanish_for_a_while(build: Callable[..., World]) -> None:
    world = build([rule("status", "vanish", nth=[1, 2])])
    job = world.submitted()
    assert [world.status(job).status for _ in range(3)] == [404, 404, 200]


def test_a_completed_job_may_lack_its_urls(build: Callable[..., World]) -> None:
    world = build([rule("poll", "no_urls", when="completed", nth=1)])
    job = world.submitted()
    world.clock.sleep(100)
    assert [len(world.job(job)["result_urls"]) for _ in range(2)] == [0, 1]


def test_an_expired_link_is_forbidden_until_a_status_gives_a_fresh_one(
    build: Callable[..., World],
) -> None:
    world = build([rule("result", "expire", nth=1)])
    job, stale = world.finished()
    assert [world.call("GET", stale).status for _ in range(2)] == [403, 403]
    fresh = path_of(world.job(job)["result_urls"][0])
    assert fresh != stale
    assert world.call("GET", fresh).status == 200
    assert world.call("GET", stale).status == 403


def test_a_result_may_change_between_two_parts(build: Callable[..., World]) -> None:
    world = build([rule("result", "etag_changes", nth=2)])
    _, path = world.finished()
    before = world.call("GET", path)
    after = world.call("GET", path, range="bytes=9-", if_range=before.headers["etag"])
    assert after.status == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert after.body != before.body


def test_a_range_may_be_ignored(build: Callable[..., World]) -> None:
    world = build([rule("result", "ignore_range")])
    _, path = world.finished()
    assert world.call("GET", path, range="bytes=9-").status == 200


@pytest.mark.parametrize("length", ["sent", "none"])
def test_a_result_may_end_early_without_telling(build: Callable[..., World], length: str) -> None:
    world = build([rule("result", {"short": {"bytes": 100, "length": length}})])
    _, path = world.finished()
    answer = world.call("GET", path)
    assert len(answer.body) == 100
    assert ("content-length" in answer.headers) == (length == "sent")


def test_a_result_may_be_a_page(build: Callable[..., World]) -> None:
    world = build([rule("result", "page")])
    _, path = world.finished()
    assert world.call("GET", path).headers["content-type"].startswith("text/html")


def test_a_body_may_drip(build: Callable[..., World]) -> None:
    world = build([rule("result", {"drip": {"bytes": 2000, "every": 0.001}})])
    _, path = world.finished()
    assert world.call("GET", path).body[4:8] == b"ftyp"


def test_a_body_may_have_no_end(build: Callable[..., World]) -> None:
    world = build([rule("result", "endless")])
    _, path = world.finished()
    answer = world.call("GET", path)
    assert len(answer.body) >= 4 << 20
    assert "content-length" not in answer.headers


def test_a_delay_passes_and_the_answer_comes(build: Callable[..., World]) -> None:
    world = build([rule("history", {"delay": 0.01})])
    assert world.call("GET", HISTORY).status == 200


def test_rules_can_be_changed_while_it_runs(world: World) -> None:
    world.simulator.script(FaultScript.read([rule("any", {"respond": {"status": 500}})]))
    assert world.submit().status == 500
    world.simulator.script(FaultScript())
    assert world.submit().status == 200
