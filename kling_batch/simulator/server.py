"""The stand-in on loopback: the app's decisions put on a real socket, faults included."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from kling_batch.errors import UsageError
from kling_batch.service.transport import HttpRequest, HttpResponse
from kling_batch.simulator.answers import refusal
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.outcome import PLAIN, Delivery, Reply

HOST = "127.0.0.1"
BODY_LIMIT = 1 << 20
# An endless body must end somewhere: far beyond what any client should take.
ENDLESS_LIMIT = 1 << 30
PIECE = 1 << 16
_NO_BODY = frozenset({204, 304})


class _Loopback(ThreadingHTTPServer):
    """Threads for requests, and a list of open connections so that closing ends them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator, port: int) -> None:
        self.simulator = simulator
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        # http.server's own asks the resolver for this machine's name: slow, and not needed.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is its own affair."""

    def hang_up(self) -> None:
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __getattr__(self, name: str) -> Any:
        # http.server looks for one method a verb; which verbs are known is the app's to say.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Nothing: the simulator counts requests itself."""

    def _serve(self) -> None:
        server = cast("_Loopback", self.server)
        body = self._read_body()
        if isinstance(body, HttpResponse):
            self.close_connection = True
            self._deliver(Reply(body), server.closing)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = HttpRequest(self.command, self.path, headers, body)
        self._deliver(server.simulator.reply(request), server.closing)

    def _read_body(self) -> bytes | HttpResponse:
        if "transfer-encoding" in self.headers:
            return refusal(411, "A Content-Length is needed")
        stated = self.headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdecimal()):
            return refusal(400, "Content-Length is not a number")
        if len(stated) > 12 or int(stated) > BODY_LIMIT:
            return refusal(413, "The body is too large")
        return self.rfile.read(int(stated))

    def _deliver(self, reply: Reply, closing: threading.Event) -> None:
        delivery = reply.delivery
        if delivery.delay:
            closing.wait(delivery.delay)
        if delivery.hang is not None:
            closing.wait(delivery.hang)
        if delivery.refuse or delivery.reset:
            # Closing with a linger of nothing sends RST where a plain close sends FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if delivery.refuse or delivery.reset or delivery.hang is not None:
            self._drop()
            return
        self._send(reply.response, delivery, closing)

    def _send(self, response: HttpResponse, delivery: Delivery, closing: threading.Event) -> None:
        body = response.body
        sent = body if delivery.cut is None else body[: delivery.cut]
        lengths = {"full": len(body), "sent": len(sent), "none": None}
        length = None if delivery.endless else lengths[delivery.length]
        if length is None or length != len(sent):
            self.close_connection = True
        head = self._head(response, length)
        if self.command == "HEAD" or response.status in _NO_BODY:
            self.wfile.write(head)
        elif delivery == PLAIN:
            self.wfile.write(head + sent)
        else:
            self._send_slowly(head, sent, delivery, closing)

    def _send_slowly(
        self, head: bytes, body: bytes, delivery: Delivery, closing: threading.Event
    ) -> None:
        self.wfile.write(head)
        drip = delivery.drip
        size = drip.bytes if drip else PIECE
        for piece in _pieces(body, size, endless=delivery.endless):
            self.wfile.write(piece)
            if closing.wait(drip.every) if drip else closing.is_set():
                self.close_connection = True
                return

    def _head(self, response: HttpResponse, length: int | None) -> bytes:
        try:
            phrase = self.responses[cast("Any", response.status)][0]
        except KeyError:
            phrase = "Unknown"
        headers = dict(response.headers)
        if response.status not in _NO_BODY:
            headers = {"content-length": str(length), **headers} if length is not None else headers
        if self.close_connection:
            headers["connection"] = "close"
        lines = [f"HTTP/1.1 {response.status} {phrase}"]
        lines += [f"{name.title()}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", errors="replace")

    def _drop(self) -> None:
        self.close_connection = True
        # A reset needs the last reference to the socket gone, and the reader holds one.
        with contextlib.suppress(OSError):
            self.rfile.close()
            self.connection.close()


def _pieces(body: bytes, size: int, *, endless: bool) -> Iterator[bytes]:
    if endless:
        body = body or b"\0"
        body *= -(-PIECE // len(body)) if size == PIECE else 1
    rounds = ENDLESS_LIMIT // len(body) if endless else 1
    for _ in range(rounds):
        for start in range(0, len(body), size):
            yield body[start : start + size]


class RunningServer:
    """A simulator that answers on loopback until it is closed."""

    def __init__(self, simulator: Simulator, server: _Loopback) -> None:
        self.simulator = simulator
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(0.02,), name="simulator", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def wait(self) -> None:
        """Return once it is closed, or leave with the interrupt that ends the waiting."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def close(self) -> None:
        """Stop listening and hang up on everyone. Closing twice does no harm."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(simulator: Simulator, port: int = 0) -> RunningServer:
    """Answer on 127.0.0.1; port 0 takes a free one. Raises UsageError where the port is taken."""
    try:
        return RunningServer(simulator, _Loopback(simulator, port))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"Port {port} can't be opened on {HOST}: {error}", "Take another with --port."
        ) from error
