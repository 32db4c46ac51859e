"""The real transport: what is certain of a call that failed, and what is sent."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from support.wire import Wire, served

from kling_batch.service.http import HttpTransport
from kling_batch.service.transport import HttpRequest, NothingSent, Unanswered

POST = HttpRequest("POST", "/x/", {"content-type": "application/json"}, b'{"a": 1}')
GET = HttpRequest("GET", "/x/")


def test_a_post_carries_key_body_and_name_and_leaves_no_connection_open() -> None:
    wire = Wire().file(b"{}")
    with served(wire) as url:
        HttpTransport(url, "key")(POST)
    sent = wire.requests[0].lower()
    assert sent.startswith(b"post /x/ http/1.1")
    for part in (
        b"authorization: bearer key",
        b"content-type: application/json",
        b"content-length: 8",
        b"connection: close",
        b"user-agent: kling-batch/",
    ):
        assert part in sent


def test_an_address_with_a_path_is_what_a_call_goes_below() -> None:
    for address in ("/behind", "/behind/"):
        wire = Wire().file(b"{}")
        with served(wire) as url:
            HttpTransport(f"{url}{address}", "key")(HttpRequest("GET", "/x/?limit=1"))
        assert wire.requests[0].startswith(b"GET /behind/x/?limit=1 HTTP/1.1")


def test_an_address_that_is_none_sent_nothing() -> None:
    with pytest.raises(NothingSent):
        HttpTransport("http://exa mple", "key")(POST)


def test_a_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(NothingSent):
        HttpTransport(f"http://127.0.0.1:{port}", "key")(POST)


def test_a_name_that_does_not_resolve_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NothingSent, match="name was not found"):
        HttpTransport("https://service.example.com", "key")(POST)


def test_a_tls_handshake_that_fails_sent_nothing() -> None:
    with served(Wire().always(b"HTTP/1.1 400 No TLS here\r\n\r\n")) as url:
        address = url.replace("http:", "https:")
        with pytest.raises(NothingSent):
            HttpTransport(address, "key")(POST)


def test_no_answer_in_time_may_have_been_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_batch.service.wire.READ_SECONDS", 0.05)
    monkeypatch.setattr("support.wire.PAUSE", 0.2)
    wire = Wire().always(b"", b"HTTP/1.1 200 OK\r\n\r\n")
    with served(wire) as url, pytest.raises(Unanswered, match="no answer in time"):
        HttpTransport(url, "key")(POST)


def test_a_closed_connection_may_have_been_heard() -> None:
    with served(Wire().always(b"")) as url, pytest.raises(Unanswered):
        HttpTransport(url, "key")(POST)


def test_a_get_is_tried_again_and_a_post_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
    busy = Wire().always(Wire.whole(b"", "Retry-After: 0", status="503 Busy"))
    with served(busy) as url:
        transport = HttpTransport(url, "key")
        transport(POST)
        assert len(busy.requests) == 1
        assert transport(GET).status == 503
    assert len(busy.requests) == 1 + 3


def test_the_key_is_taken_out_of_bodies_headers_and_reasons() -> None:
    answer = Wire.whole(b'{"error": "bad s3cret"}', "X-Echo: s3cret", status="400 No")
    with served(Wire().always(answer)) as url:
        told = HttpTransport(url, "s3cret")(POST)
    assert told.json() == {"error": "bad [key]"}
    assert told.headers["x-echo"] == "[key]"


def test_packed_answers_are_unpacked() -> None:
    import gzip

    packed = Wire.whole(gzip.compress(b'{"a": 1}'), "Content-Encoding: gzip")
    with served(Wire().always(packed)) as url:
        assert HttpTransport(url, "key")(GET).json() == {"a": 1}


def test_chunked_answers_are_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served(Wire().always(head, b'4\r\n{"a"\r\n', b"4\r\n: 1}\r\n0\r\n\r\n")) as url:
        assert HttpTransport(url, "key")(GET).json() == {"a": 1}
