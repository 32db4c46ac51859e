"""What may happen to a result on its way: row 26 of the matrix, in process and over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, jobs
from support.money import assert_finishes
from support.wire import Wire, served

from kling_batch.errors import ExitCode
from kling_batch.execution import download as downloading
from kling_batch.execution.download import Failure, Got, NotGot, Target, download
from kling_batch.execution.receipt import Provenance
from kling_batch.model import JobRequest
from kling_batch.service import http
from kling_batch.service.http import Fetched, MediaFetcher
from kling_batch.simulator.media import mp4
from kling_batch.state.records import JobState, Record

VIDEO = mp4(3, 1)
REQUEST = JobRequest("p", "https://x/i.png", "https://x/v.mp4", "video", "720p", 5)


def record(url: str = "https://host/r.mp4", **changes: Any) -> Record:
    known = {"output": "outputs/r.mp4", "job_id": "f00", "result_url": url, **changes}
    return Record(
        id="r",
        fingerprint=REQUEST.fingerprint(),
        request=REQUEST,
        state=JobState.COMPLETED,
        credits_planned=60,
        **known,
    )


def fetch(folder: Path, fetcher: Any, url: str = "https://host/r.mp4", **changes: Any) -> Any:
    target = Target(folder, Provenance("m.yaml", "https://service", "canonical"), {"720p": 12})
    return download(record(url, **changes), target, fetcher, lambda: False)


def assert_nothing_there(folder: Path) -> None:
    assert not list(folder.rglob("*.mp4"))


# -- in process: whole batches ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        "expire",
        {"respond": {"status": 403}},
        {"respond": {"status": 404}},
        {"respond": {"status": 500}},
        {"respond": {"status": 302, "headers": {}}},
        "page",
        {"short": {"bytes": 700, "length": "sent"}},
        {"short": {"bytes": 700, "length": "none"}},
        {"short": {"bytes": 0, "length": "sent"}},
        "reset",
        "refuse",
        {"timeout": 1},
    ],
    ids=str,
)
def test_a_result_that_does_not_come_whole_is_fetched_again(folder: Path, fault: Any) -> None:
    bench = Bench(folder, jobs(2), faults=[{"on": "result", "nth": [1, 2], "do": fault}])
    assert bench.run().exit_code is ExitCode.DONE
    assert bench.told("fetching_again")
    assert bench.simulator.requests["POST", "generate"] == 2
    assert not list(folder.rglob("*.part"))
    assert_finishes(bench, 2)


@pytest.mark.parametrize("fault", ["page", {"respond": {"status": 403}}, "reset"])
def test_a_result_that_never_comes_is_left_for_a_later_run(folder: Path, fault: Any) -> None:
    bench = Bench(folder, jobs(1), faults=[{"on": "result", "do": fault}])
    result = bench.run()
    assert result.exit_code is ExitCode.STOPPED
    assert bench.states() == {"j1": "completed"}
    assert_nothing_there(folder)
    assert_finishes(bench, 1)


def test_an_expired_link_is_asked_for_anew_by_a_later_run(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.run(wait=False)
    bench.simulator.script(_script([{"on": "result", "do": "expire"}]))
    assert bench.run().exit_code is ExitCode.STOPPED
    polls = bench.simulator.requests["GET", "status"]
    assert_finishes(bench, 1)
    assert bench.simulator.requests["GET", "status"] > polls


def _script(rules: list[dict[str, Any]]) -> Any:
    from kling_batch.simulator.faults import FaultScript

    return FaultScript.read(rules)


# -- one download, with a host of our own ----------------------------------------------------------


class Host:
    """Serves one file, and notes what it was asked for."""

    def __init__(self, body: bytes = VIDEO, **headers: str) -> None:
        self.body = body
        self.headers = {"etag": '"one"', **headers}
        self.asked: list[dict[str, str]] = []
        self.cut: int | None = None
        self.answer: tuple[int, dict[str, str], bytes] | None = None

    @contextmanager
    def open(self, _: str, headers: Mapping[str, str]) -> Iterator[Fetched]:
        self.asked.append(dict(headers))
        status, told, body = self.answer or self._answer(headers)
        length = {"content-length": str(len(body))}
        yield Fetched(status, {**length, **told}, self._pieces(body))

    def _answer(self, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        if headers.get("if-range") != self.headers["etag"]:
            return 200, self.headers, self.body
        start = int(headers["range"][len("bytes=") : -1])
        told = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        return 206, {**self.headers, "content-range": told}, self.body[start:]

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        if self.cut is None:
            yield body
        else:
            yield body[: self.cut]
            raise ConnectionError("the connection was reset")


def interrupted(folder: Path, host: Host) -> None:
    """A first try that ends after 500 bytes."""
    host.cut = 500
    got = fetch(folder, host)
    assert isinstance(got, NotGot)
    assert got.failure is Failure.TRANSIENT
    assert_nothing_there(folder)
    host.cut = None


def assert_got(folder: Path, got: Any, body: bytes = VIDEO) -> None:
    assert isinstance(got, Got), got
    assert (folder / got.output).read_bytes() == body
    assert got.size == len(body)


def test_a_download_goes_on_where_it_was_cut(folder: Path) -> None:
    host = Host()
    interrupted(folder, host)
    assert_got(folder, fetch(folder, host))
    assert host.asked[-1] == {"range": "bytes=500-", "if-range": '"one"'}


def test_a_file_that_changed_meanwhile_is_fetched_whole(folder: Path) -> None:
    host = Host()
    interrupted(folder, host)
    host.body, host.headers = mp4(4, 2), {"etag": '"two"'}
    assert_got(folder, fetch(folder, host), host.body)


def test_a_host_that_ignores_ranges_is_taken_at_its_whole(folder: Path) -> None:
    host = Host()
    interrupted(folder, host)
    host.answer = (200, host.headers, VIDEO)
    assert_got(folder, fetch(folder, host))


@pytest.mark.parametrize(
    ("told", "etag"),
    [
        ("bytes 500-{end}/{size}", '"two"'),
        ("bytes 0-{end}/{size}", '"one"'),
        ("bytes 499-{end}/{size}", '"one"'),
        ("bytes */{size}", '"one"'),
        ("", '"one"'),
        ("bytes 500-{end}/{size}", ""),
    ],
)
def test_a_part_that_does_not_fit_is_thrown_away(folder: Path, told: str, etag: str) -> None:
    host = Host()
    interrupted(folder, host)
    told = told.format(end=len(VIDEO) - 1, size=len(VIDEO))
    host.answer = (206, {"etag": etag, "content-range": told}, VIDEO[500:])
    got = fetch(folder, host)
    assert isinstance(got, NotGot)
    assert got.failure is Failure.TRANSIENT
    host.answer = None
    assert_got(folder, fetch(folder, host))


def test_a_416_begins_anew(folder: Path) -> None:
    host = Host()
    interrupted(folder, host)
    host.answer = (416, host.headers, b"")
    assert isinstance(fetch(folder, host), NotGot)
    host.answer = None
    assert_got(folder, fetch(folder, host))
    assert host.asked[-1] == {}


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_resumed(folder: Path, etag: str) -> None:
    host = Host(etag=etag)
    interrupted(folder, host)
    assert_got(folder, fetch(folder, host))
    assert host.asked[-1] == {}


@pytest.mark.parametrize("length", [len(VIDEO) + 1, len(VIDEO) * 2])
def test_fewer_bytes_than_promised_are_not_the_file(folder: Path, length: int) -> None:
    host = Host()
    host.answer = (200, {"content-length": str(length)}, VIDEO)
    got = fetch(folder, host)
    assert isinstance(got, NotGot)
    assert_nothing_there(folder)


def test_more_bytes_than_promised_are_not_the_file(folder: Path) -> None:
    host = Host()
    host.answer = (200, {"content-length": "100"}, VIDEO)
    assert isinstance(fetch(folder, host), NotGot)
    assert_nothing_there(folder)


def test_an_endless_result_is_given_up_at_the_bound(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "SIZE_MAX", 10_000)
    host = Host(bytes(20_000))
    host.answer = (200, {"content-length": ""}, host.body)
    got = fetch(folder, host)
    assert isinstance(got, NotGot)
    assert got.failure is Failure.REFUSED
    assert not list(folder.rglob("*.part"))


def test_a_result_that_claims_too_much_is_not_even_begun(folder: Path) -> None:
    host = Host()
    host.answer = (200, {"content-length": str(10**15)}, VIDEO)
    got = fetch(folder, host)
    assert isinstance(got, NotGot)
    assert got.failure is Failure.REFUSED


def test_a_placed_file_without_its_record_is_found_and_not_fetched(folder: Path) -> None:
    host = Host()
    first = fetch(folder, host)
    assert fetch(folder, host) == first
    assert len(host.asked) == 1


def test_a_placed_file_that_was_changed_is_not_taken_for_the_result(folder: Path) -> None:
    host = Host()
    fetch(folder, host)
    (folder / "outputs/r.mp4").write_bytes(b"the user's own cut")
    got = fetch(folder, host)
    assert_got(folder, got)
    assert got.output != "outputs/r.mp4"
    assert (folder / "outputs/r.mp4").read_bytes() == b"the user's own cut"


@pytest.mark.parametrize("receipt", ["{}", '{"kind": "kling-batch receipt"}', "[1", "null"])
def test_a_receipt_that_is_none_is_no_proof(folder: Path, receipt: str) -> None:
    (folder / "outputs").mkdir()
    (folder / "outputs/r.mp4").write_bytes(VIDEO)
    (folder / "outputs/r.json").write_text(receipt)
    got = fetch(folder, Host())
    assert_got(folder, got)
    assert got.output != "outputs/r.mp4"


# -- over a socket ---------------------------------------------------------------------------------


def test_a_result_comes_over_a_socket(folder: Path) -> None:
    with served(Wire().file(VIDEO)) as url:
        assert_got(folder, fetch(folder, MediaFetcher(loopback=True), f"{url}/r.mp4"))


@pytest.mark.parametrize("times", [1, 6])
def test_redirects_are_followed_a_few_times(folder: Path, times: int) -> None:
    wire = Wire()
    for number in range(times):
        wire.on(
            f"/{number}",
            b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n" % (number + 1),
        )
    wire.on(f"/{times}", Wire.whole(VIDEO))
    with served(wire) as url:
        got = fetch(folder, MediaFetcher(loopback=True), f"{url}/0")
    if times == 1:
        assert_got(folder, got)
    else:
        assert isinstance(got, NotGot)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(VIDEO) + VIDEO[:400],
        b"HTTP/1.1 200 OK\r\n\r\n" + VIDEO[:400],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n" + VIDEO[:400],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
    ids=["nothing", "short", "short without a length", "cut chunks", "no chunks", "no HTTP"],
)
def test_a_connection_that_breaks_leaves_no_file(folder: Path, sent: bytes) -> None:
    with served(Wire().on("/r.mp4", sent)) as url:
        got = fetch(folder, MediaFetcher(loopback=True), f"{url}/r.mp4")
    assert isinstance(got, NotGot)
    assert got.failure in (Failure.TRANSIENT, Failure.EXPIRED)
    assert_nothing_there(folder)


def test_a_packed_body_is_not_unpacked(folder: Path) -> None:
    import gzip

    bomb = gzip.compress(bytes(50_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    with served(Wire().on("/r.mp4", head + bomb)) as url:
        got = fetch(folder, MediaFetcher(loopback=True), f"{url}/r.mp4")
    assert isinstance(got, NotGot)
    assert_nothing_there(folder)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 100_000


def test_a_drip_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SLOW_AFTER", 0.05)
    monkeypatch.setattr(http, "SLOWEST", 10**6)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(VIDEO)
    with served(Wire().on("/r.mp4", head, *[VIDEO[at : at + 1] for at in range(200)])) as url:
        got = fetch(folder, MediaFetcher(loopback=True), f"{url}/r.mp4")
    assert isinstance(got, NotGot)
    assert "too slowly" in got.reason
    assert_nothing_there(folder)


def test_a_whole_batch_survives_a_bad_host_over_a_socket(folder: Path) -> None:
    """Drips, resets and cuts from the simulator's own server, with the real fetcher."""
    from kling_batch.simulator.server import serve

    faults = [
        {"on": "result", "nth": 1, "do": {"drip": {"bytes": 600, "every": 0.001}}},
        {"on": "result", "nth": 2, "do": "reset"},
        {"on": "result", "nth": 3, "do": {"short": {"bytes": 500, "length": "full"}}},
        {"on": "result", "nth": 4, "do": "etag_changes"},
        {"on": "result", "nth": 5, "do": "ignore_range"},
    ]
    bench = Bench(folder, jobs(3), faults=faults)
    with serve(bench.simulator) as server:
        bench.simulator._public_url = server.url
        bench.host = MediaFetcher(loopback=True)  # type: ignore[assignment]
        assert bench.run().exit_code is ExitCode.DONE
        assert_finishes(bench, 3)
    for video in (folder / "outputs/batch").glob("*.mp4"):
        receipt = json.loads(video.with_suffix(".json").read_text())
        assert receipt["size_bytes"] == video.stat().st_size
