"""What only a socket shows: resets, hang-ups, reuse, bounds."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from kling_batch.clock import SystemClock
from kling_batch.errors import UsageError
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.faults import FaultScript
from kling_batch.simulator.server import RunningServer, serve

MODELS = "/api/v1/models/video/"
HEADERS = {"Authorization": "Bearer any"}


@contextmanager
def running(*rules: dict[str, Any]) -> Iterator[RunningServer]:
    with serve(Simulator(SystemClock(), faults=FaultScript.read(list(rules)))) as server:
        yield server


@contextmanager
def connected(server: RunningServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
    try:
        yield connection
    finally:
        connection.close()


def get(connection: http.client.HTTPConnection, path: str = MODELS) -> tuple[int, bytes]:
    connection.request("GET", path, headers=HEADERS)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_one_connection_serves_many_requests() -> None:
    with running() as server, connected(server) as connection:
        connection.connect()
        kept = connection.sock
        assert [get(connection)[0] for _ in range(3)] == [200, 200, 200]
        assert connection.sock is kept


def test_a_reset_is_a_reset_and_not_a_close() -> None:
    with (
        running({"on": "models", "do": "reset"}) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=2) as connection,
    ):
        connection.sendall(b"GET /api/v1/models/video/ HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_cut_body_is_shorter_than_its_stated_length() -> None:
    with running({"on": "models", "do": {"cut": 7}}) as server, connected(server) as connection:
        with pytest.raises(http.client.IncompleteRead) as caught:
            get(connection)
        assert len(caught.value.partial) == 7


def test_a_hang_outlasts_the_clients_patience() -> None:
    with running({"on": "models", "do": {"timeout": 60}}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=0.02)
        with pytest.raises(TimeoutError):
            get(connection)
        connection.close()


def test_closing_hangs_up_on_waiting_clients_at_once() -> None:
    server = serve(Simulator(SystemClock()))
    with connected(server) as connection:
        assert get(connection)[0] == 200
        server.close()
        with pytest.raises((http.client.HTTPException, OSError)):
            get(connection)
    server.close()


def test_a_drip_goes_on_in_pieces() -> None:
    rule = {"on": "models", "do": {"drip": {"bytes": 50, "every": 0.001}}}
    with running(rule) as server, connected(server) as connection:
        assert get(connection)[1].startswith(b'{"success": true')


def test_many_clients_are_served_at_once() -> None:
    def one(server: RunningServer) -> int:
        with connected(server) as connection:
            return get(connection)[0]

    with running() as server, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, [server] * 64)) == [200] * 64
        assert server.simulator.requests["GET", "models"] == 64


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(2 << 20)}, 413),
        ({"Content-Length": "many"}, 400),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
    ids=str,
)
def test_a_body_has_bounds(headers: dict[str, str], status: int) -> None:
    with running() as server, connected(server) as connection:
        connection.putrequest("POST", "/api/v1/video-studio/generate/")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (status, "close")
        assert answer.read()


def test_any_verb_is_answered_by_the_app() -> None:
    with running() as server, connected(server) as connection:
        connection.request("FETCH", MODELS, headers=HEADERS)
        assert connection.getresponse().status == 405


def test_it_listens_on_loopback_only() -> None:
    with running() as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            serve(Simulator(SystemClock()), port)


def test_the_app_alone_loads_no_server_and_no_yaml() -> None:
    code = (
        "import sys, kling_batch.simulator.app;"
        "sys.exit(bool({'http.server', 'socketserver', 'yaml', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
