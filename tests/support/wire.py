"""A server of raw bytes on loopback: what no proper HTTP server would ever send."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE = 0.002


class Wire:
    """What is sent for which path, piece by piece; and every request, as it came."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._answers: dict[str, tuple[bytes, ...]] = {}
        self._otherwise: tuple[bytes, ...] = (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        )

    @staticmethod
    def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
        """A whole answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
        return "\r\n".join([*lines, *headers, "", ""]).encode() + body

    def on(self, path: str, *pieces: bytes) -> Wire:
        """Send these pieces for that path, then close."""
        self._answers[path] = pieces
        return self

    def always(self, *pieces: bytes) -> Wire:
        """Send these for every other path."""
        self._otherwise = pieces
        return self

    def file(self, body: bytes) -> Wire:
        """Every path is this file."""
        return self.always(self.whole(body))

    def serve(self, connection: socket.socket) -> None:
        """Read one request, answer, close."""
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.5)
            request = b""
            while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
                request += piece
            self.requests.append(request)
            words = request.split(b" ", 2)
            path = words[1].decode("latin-1").partition("?")[0] if len(words) > 1 else ""
            for number, piece in enumerate(self._answers.get(path, self._otherwise)):
                if number:
                    time.sleep(PAUSE)
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


@contextmanager
def served(wire: Wire) -> Iterator[str]:
    """The wire on a loopback port; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=wire.serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
