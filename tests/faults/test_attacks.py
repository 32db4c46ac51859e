"""The attack list: what a hostile service, host, network or folder could try."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, jobs
from support.money import assert_bought_once
from support.wire import Wire, served

from kling_batch.cli.main import main
from kling_batch.cli.progress import Lines
from kling_batch.clock import SystemClock
from kling_batch.errors import ExitCode
from kling_batch.service.contracts import CONTRACTS
from kling_batch.service.http import HttpTransport, MediaFetcher, RefusedUrl
from kling_batch.service.outcomes import Verdict, judge_submission
from kling_batch.service.transport import HttpRequest, HttpResponse, NothingSent, Unanswered
from kling_batch.simulator.faults import FaultScript
from kling_batch.simulator.server import serve
from kling_batch.state.store import Happening

KEY = "ulazai_live_0123456789abcdefSECRET"
POST = HttpRequest("POST", "/api/v1/video-studio/generate/", {}, b"{}")
GET = HttpRequest("GET", "/api/v1/video-studio/history/")


def redirect(to: str, status: str = "302 Found") -> bytes:
    return Wire.whole(b"", f"Location: {to}", status=status)


# -- 1: redirects of calls with the key ------------------------------------------------------------


@pytest.mark.parametrize("request_", [POST, GET], ids=["POST", "GET"])
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Same", "308 Same"]
)
def test_no_call_with_the_key_follows_a_redirect(request_: HttpRequest, status: str) -> None:
    elsewhere = Wire()
    with served(elsewhere) as other, served(Wire().always(redirect(other, status))) as url:
        answer = HttpTransport(url, KEY)(request_)
    assert answer.status == int(status[:3])
    assert elsewhere.requests == []


def test_a_redirected_post_is_of_unknown_outcome() -> None:
    outcome = judge_submission(CONTRACTS["canonical"], HttpResponse(302), 0.0)
    assert outcome.verdict is Verdict.UNKNOWN


# -- 2: the key and the result's host --------------------------------------------------------------


def test_the_result_host_never_sees_the_key() -> None:
    host, api = Wire().file(b"video"), Wire().file(b"{}")
    with served(host) as media, served(api) as url:
        HttpTransport(url, KEY)(GET)
        with MediaFetcher(loopback=True).open(f"{media}/r.mp4", {}) as answer:
            assert b"".join(answer.chunks) == b"video"
    assert KEY.encode() in api.requests[0]
    assert KEY.encode() not in host.requests[0]
    assert b"authorization" not in host.requests[0].lower()


# -- 3: the user's surroundings --------------------------------------------------------------------


@pytest.fixture
def hostile_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A ~/.netrc for loopback, and proxies in every variable that programs look at."""
    proxy = Wire().always(Wire.whole(b'{"success": true, "job_ids": ["stolen"]}'))
    with served(proxy) as url:
        netrc = Path.home() / ".netrc"
        netrc.write_text(
            "machine 127.0.0.1 login thief password thief\ndefault login t password t\n"
        )
        netrc.chmod(0o600)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, url)
            monkeypatch.setenv(name.lower(), url)
        monkeypatch.setenv("NO_PROXY", "")
        yield proxy


def test_netrc_and_proxy_variables_are_not_trusted(hostile_surroundings: Wire) -> None:
    api, host = Wire().file(b"{}"), Wire().file(b"video")
    with served(api) as url, served(host) as media:
        HttpTransport(url, KEY)(POST)
        HttpTransport(url, KEY)(GET)
        with MediaFetcher(loopback=True).open(f"{media}/r.mp4", {}) as answer:
            assert b"".join(answer.chunks) == b"video"
    assert hostile_surroundings.requests == []
    assert all(f"Bearer {KEY}".encode() in one for one in api.requests)
    assert b"authorization" not in host.requests[0].lower()


def test_a_proxy_that_the_user_names_is_used() -> None:
    proxy = Wire().file(b"{}")
    with served(proxy) as url:
        HttpTransport("http://service.example.com", KEY, {"http": url})(GET)
    assert proxy.requests[0].startswith(b"GET http://service.example.com/")


# -- 4, 6: the key and signed URLs -----------------------------------------------------------------


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The whole program against a server on loopback; what it wrote anywhere."""
    monkeypatch.setenv("ULAZAI_API_KEY", KEY)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / "batch.yaml").write_text(jobs(2))

    def run(url: str, *flags: str) -> int:
        monkeypatch.setenv("ULAZAI_BASE_URL", url)
        always = ("--yes", "--poll-interval", "0.02", "--reconcile-wait", "0.05")
        return main(["run", str(folder / "batch.yaml"), *always, *flags])

    return run


def everything_written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for base in (folder, Path.home()):
        for path in base.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()


def echo(request: HttpRequest) -> dict[str, Any]:
    """An error that tells the caller its own key, in every way it can."""
    return {"success": False, "error": f"bad {request.headers.get('authorization')}", "key": KEY}


@contextmanager
def echoing(status: int, times: int) -> Iterator[str]:
    """The simulator, whose first so many submissions are answered with the key."""
    from kling_batch.simulator.app import Simulator

    answer = {"respond": {"status": status, "json": {"error": f"bad {KEY}", "key": KEY}}}
    rules = [
        {"on": "submit", "nth": list(range(1, times + 1)), "do": answer},
        {"on": "poll", "nth": 1, "do": answer},
        {"on": "history", "nth": 1, "do": answer},
    ]
    simulator = Simulator(SystemClock(), job_seconds=0.05, faults=FaultScript.read(rules), key=KEY)
    with serve(simulator) as server:
        yield server.url


@pytest.mark.parametrize("status", [200, 400, 401, 402, 404, 500])
@pytest.mark.parametrize("flags", [("--json",), ()])
def test_a_service_that_echoes_the_key_does_not_get_it_written_anywhere(
    folder: Path, command: Any, capfd: pytest.CaptureFixture[str], status: int, flags: Any
) -> None:
    with echoing(status, 1) as url:
        command(url, *flags)
    out, err = capfd.readouterr()
    assert KEY not in out + err
    assert [path for path, held in everything_written(folder) if KEY.encode() in held] == []


def test_a_bug_is_logged_without_the_key(
    folder: Path,
    command: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bug(*_: object) -> None:
        raise RuntimeError(f"something with {KEY} in it")

    monkeypatch.setattr("kling_batch.cli.run.run_batch", bug)
    assert command("http://127.0.0.1:9") == 70
    out, err = capfd.readouterr()
    assert KEY not in out + err
    logs = list(folder.glob("kling-batch-*.log"))
    assert len(logs) == 1
    assert KEY not in logs[0].read_text()
    assert "[key]" in logs[0].read_text()


def test_signed_urls_stay_out_of_events_and_errors(
    folder: Path, command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from kling_batch.simulator.app import Simulator

    faults = FaultScript.read([{"on": "result", "nth": [1, 2], "do": "expire"}])
    with serve(Simulator(SystemClock(), job_seconds=0.05, faults=faults, key=KEY)) as server:
        assert command(server.url, "--json") == 0
    out, err = capfd.readouterr()
    assert "signature" not in out + err
    for path, held in everything_written(folder):
        if path.suffix in (".json", ".log"):
            assert b"signature" not in held


def test_a_failed_call_gives_no_url_and_no_key_in_its_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(NothingSent) as raised:
        HttpTransport(f"http://127.0.0.1:{port}", KEY)(POST)
    assert str(raised.value) == "the connection was refused"
    with (
        pytest.raises(ConnectionError) as failed,
        MediaFetcher(loopback=True).open(f"http://127.0.0.1:{port}/r.mp4?signature=s3cret", {}),
    ):
        pass
    assert "s3cret" not in str(failed.value)


# -- 7, 8: the output folder -----------------------------------------------------------------------


def test_a_file_of_the_users_is_never_overwritten(folder: Path) -> None:
    target = folder / "outputs/batch"
    target.mkdir(parents=True)
    (target / "j1.mp4").write_bytes(b"mine")
    (target / "j1.json").write_bytes(b"mine too")
    bench = Bench(folder, jobs(1))
    assert bench.run().exit_code is ExitCode.DONE
    assert (target / "j1.mp4").read_bytes() == b"mine"
    assert (target / "j1.json").read_bytes() == b"mine too"
    output = folder / bench.records()["j1"].output
    assert output.read_bytes()[4:8] == b"ftyp"


def test_a_link_at_the_target_is_never_followed(folder: Path) -> None:
    target = folder / "outputs/batch"
    target.mkdir(parents=True)
    outside = folder.parent / f"{folder.name}-outside.mp4"
    (target / "j1.mp4").symlink_to(outside)
    bench = Bench(folder, jobs(1))
    bench.run()
    assert not outside.exists()
    assert (target / "j1.mp4").is_symlink()


@pytest.mark.parametrize("linked", ["outputs", "outputs/batch"])
def test_a_linked_folder_is_not_written_through(folder: Path, linked: str) -> None:
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    link = folder / linked
    bench = Bench(folder, jobs(1))

    def swap(happening: Happening, _: object) -> None:
        if happening.name == "submitted":  # after the manifest was read and checked
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(outside)

    result = bench.run(on_event=swap)
    assert result.exit_code is ExitCode.STOPPED
    assert "leads out of" in result.left["j1"]
    assert list(outside.iterdir()) == []
    link.unlink()
    assert bench.run().exit_code is ExitCode.DONE


def test_the_names_of_the_server_are_never_used(folder: Path) -> None:
    head = 'Content-Disposition: attachment; filename="../../evil.sh"'
    bench = Bench(folder, jobs(1))
    bench.run(wait=False)
    bench.clock.sleep(300)
    from kling_batch.simulator.media import mp4

    with served(Wire().always(Wire.whole(mp4(3, 1), head))) as url:
        bench.simulator._public_url = f"{url}/..%2f..%2fetc"
        bench.host = MediaFetcher(loopback=True)  # type: ignore[assignment]
        assert bench.run().exit_code is ExitCode.DONE
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names >= {"j1.mp4", "j1.json"}
    assert not any("evil" in name or "etc" in name for name in names)


# -- 9: addresses that are not fetched -------------------------------------------------------------

NOT_FETCHED = [
    "file:///etc/passwd",
    "ftp://example.com/r.mp4",
    "gopher://127.0.0.1/",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
    "r.mp4",
    "//example.com/r.mp4",
    "http://",
    "http:///r.mp4",
    "http://[::1",
    "http://" + "a" * 300 + ".com/",
    "http://a..b/",
    "",
]
PRIVATE = [
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://172.16.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://0.0.0.0/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://[::ffff:10.0.0.1]/",
    "http://224.0.0.1/",
]
LOOPBACK = ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/"]


def refused(fetcher: MediaFetcher, url: str) -> str:
    with pytest.raises(RefusedUrl) as raised, fetcher.open(url, {}):
        pass
    return str(raised.value)


@pytest.mark.parametrize("url", NOT_FETCHED)
@pytest.mark.parametrize("loopback", [True, False])
def test_what_is_no_web_address_is_refused(url: str, loopback: bool) -> None:
    refused(MediaFetcher(loopback=loopback), url)


@pytest.mark.parametrize("url", PRIVATE)
@pytest.mark.parametrize("loopback", [True, False])
def test_private_addresses_are_refused(url: str, loopback: bool) -> None:
    assert "not public" in refused(MediaFetcher(loopback=loopback), url)


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_is_refused_unless_the_service_is_there(url: str) -> None:
    assert "not public" in refused(MediaFetcher(), url)


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://h/", PRIVATE[3], "http://[::1"])
def test_a_redirect_leads_nowhere_that_would_be_refused(to: str) -> None:
    with served(Wire().always(redirect(to))) as url:
        refused(MediaFetcher(loopback=True), f"{url}/r.mp4")


def test_a_public_name_that_leads_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers_with(monkeypatch, "127.0.0.1")
    assert "not public" in refused(MediaFetcher(), "http://media.example.com/r.mp4")


def answers_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Names resolve to these, one after the other; the last one stays."""
    left = list(addresses)

    def resolve(_: str, port: Any, *__: Any, **___: Any) -> list[Any]:
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_name_that_is_bound_anew_between_look_and_connection_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = Wire().file(b"a secret of this machine")
    with served(wire) as url:
        answers_with(monkeypatch, "93.184.216.34", "127.0.0.1")
        port = url.rpartition(":")[2]
        assert "not public" in refused(MediaFetcher(), f"http://media.example.com:{port}/r.mp4")
    assert all(request == b"" for request in wire.requests)


def test_a_refused_result_is_left_and_not_lost(folder: Path) -> None:
    bench = Bench(folder, jobs(1))
    bench.simulator._public_url = "http://169.254.169.254"
    bench.host = MediaFetcher()  # type: ignore[assignment]
    result = bench.run()
    assert result.exit_code is ExitCode.STOPPED
    assert "not public" in result.left["j1"]
    assert bench.states() == {"j1": "completed"}
    assert_bought_once(bench, 1)


# -- 10: answers without bounds --------------------------------------------------------------------


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_batch.service.http.ANSWER_MAX", 100_000)
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with served(Wire().always(head, *[b" " * 65536] * 50)) as url:
        answer = HttpTransport(url, KEY)(POST)
    assert len(answer.body) < 300_000
    with pytest.raises(ValueError):
        answer.json()


@pytest.mark.parametrize("request_", [POST, GET], ids=["POST", "GET"])
def test_the_endless_body_of_a_redirect_is_cut(
    request_: HttpRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_batch.service.http.ANSWER_MAX", 100_000)
    head = b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"
    with served(Wire().always(head, *[b" " * 65536] * 50)) as url:
        assert len(HttpTransport(url, KEY)(request_).body) < 300_000
        with (
            pytest.raises(ConnectionError, match="too many"),
            MediaFetcher(loopback=True).open(f"{url}/r.mp4", {}),
        ):
            pass


def test_an_answer_that_unpacks_to_a_thousand_times_its_size_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kling_batch.service.http.ANSWER_MAX", 100_000)
    bomb = gzip.compress(bytes(200_000_000), 1)
    with served(Wire().always(Wire.whole(bomb, "Content-Encoding: gzip"))) as url:
        answer = HttpTransport(url, KEY)(POST)
    assert len(answer.body) < 70_000_000


def test_an_answer_that_drips_is_cut_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_batch.service.http.WHOLE_SECONDS", 0.05)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with served(Wire().always(head, *[b" "] * 1000)) as url:
        answer = HttpTransport(url, KEY)(POST)
    assert len(answer.body) < 500


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 " + b"2" * 70_000 + b"\r\n\r\n",
        b"\x00\x01\x02",
        b"",
    ],
    ids=["long", "many", "long status", "no HTTP", "nothing"],
)
def test_headers_without_bounds_leave_the_outcome_unknown(head: bytes) -> None:
    with served(Wire().always(head)) as url, pytest.raises(Unanswered):
        HttpTransport(url, KEY)(POST)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["no gzip", "no chunks", "short"],
)
def test_a_body_that_breaks_leaves_the_outcome_unknown(sent: bytes) -> None:
    with served(Wire().always(sent)) as url, pytest.raises(Unanswered):
        HttpTransport(url, KEY)(POST)


def test_a_post_leaves_once_whatever_happens() -> None:
    wire = Wire().always(b"")
    with served(wire) as url, pytest.raises(Unanswered):
        HttpTransport(url, KEY)(POST)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("status", ["500 No", "502 No", "503 No", "504 No", "429 No"])
def test_a_post_is_never_repeated_on_a_bad_answer(status: str) -> None:
    wire = Wire().always(Wire.whole(b"", "Retry-After: 0", status=status))
    with served(wire) as url:
        HttpTransport(url, KEY)(POST)
    assert len(wire.requests) == 1


# -- 15: escape sequences --------------------------------------------------------------------------


def test_what_a_service_says_can_not_move_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(1, 60, SystemClock(), quiet=False, verbose=True, expected_end=lambda: None)
    evil = "\x1b]0;owned\x07\x1b[2J\rline\u202egnp\x9b31m"
    for name, detail in (
        ("rejected", {"error": evil}),
        ("failed", {"error": evil, "credits_refunded": None}),
        ("unknown", {"reason": evil}),
        ("left", {"reason": evil}),
        ("missing", {"reason": evil}),
        ("fetching_again", {"reason": evil}),
        ("undecided", {"reason": evil}),
    ):
        lines.saw(Happening(0.0, name, "j1", detail))
    lines.note(evil)
    err = capfd.readouterr().err
    assert "line" in err
    assert not any(bad in err for bad in ("\x1b", "\x07", "\r", "\x9b", "\u202e"))


def test_an_error_of_the_service_is_clean_on_the_way_out(
    folder: Path, command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = Wire.whole(json.dumps({"error": "no \x1b[2J\x07"}).encode(), status="401 No")
    with served(Wire().always(answer)) as url:
        assert command(url) == 5
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err
    assert "\x07" not in out + err


# -- 18: what was approved is what is sent ---------------------------------------------------------


def test_a_manifest_swapped_after_the_question_changes_nothing_that_is_sent(
    folder: Path,
) -> None:
    bench = Bench(folder, jobs(3))

    def swap(happening: Happening, _: object) -> None:
        if happening.name == "approved":
            bench.write(jobs(3).replace("number", "something dear and").replace("720p", "1080p"))

    assert bench.run(on_event=swap).exit_code is ExitCode.DONE
    assert sorted(c.prompt for c in bench.simulator.ledger) == ["number 1", "number 2", "number 3"]
    assert {c.request.quality_mode for c in bench.simulator.ledger} == {"720p"}


def test_the_state_is_held_while_the_question_stands(folder: Path) -> None:
    """A second run can't change the state between a plan and its submission."""
    from kling_batch.errors import StateHeld

    bench = Bench(folder, jobs(2))

    def second(happening: Happening, _: object) -> None:
        if happening.name == "approved":
            with pytest.raises(StateHeld):
                Bench(folder, jobs(2)).run()

    assert bench.run(on_event=second).exit_code is ExitCode.DONE
    assert bench.told("approved")
    assert_bought_once(bench, 2)
