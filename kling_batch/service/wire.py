"""The wire below transport and fetcher: the way to a host, laid once, and what surely left by it.

requests lays the way: proxy, TLS, pool of connections, headers. Calls then go straight to the
pool, since requests would lay it anew for each, and look for cookies and redirects that nobody
follows: as much work as the call itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from kling_batch import __version__

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
CONNECTIONS_KEPT = 16
USER_AGENT = f"kling-batch/{__version__}"
# What laying a way and a call by it raise when the network or the other side is at fault.
FAULTS = (requests.RequestException, HTTPError, OSError)


class _Here(threading.local):
    """Of the call that this thread makes: whether it may have left, and who looks at its peer."""

    sent = False
    guard: Callable[[str], None] | None = None


_here = _Here()


def sent() -> bool:
    """Whether a byte of this thread's last call may have left."""
    return _here.sent


class _Watched:
    """Connection mix-in: notes the moment the first byte may leave, and looks at the peer.

    Without it, a failed POST could only be guessed to have stayed at home.
    """

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        if _here.guard is not None:
            _here.guard(self.sock.getpeername()[0])  # type: ignore[attr-defined]

    def send(self, data: Any) -> None:
        if getattr(self, "sock", None) is None:
            self.connect()
        _here.sent = True
        super().send(data)  # type: ignore[misc]


class _WatchedHTTP(_Watched, HTTPConnection):
    pass


class _WatchedHTTPS(_Watched, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


class _WatchedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class Way:
    """The way to what lies below one URL; many threads may go it. Follows no redirect.

    `retry` is urllib3's, for calls that may be made again.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        proxies: Mapping[str, str],
        retry: Retry | None = None,
    ) -> None:
        """Raises one of `FAULTS` or ValueError where no way leads to such a URL."""
        with requests.Session() as session:
            # ~/.netrc would replace the key and proxy variables the route: neither is trusted.
            session.trust_env = False
            session.headers["user-agent"] = USER_AGENT
            del session.headers["connection"]  # kept alive by HTTP/1.1 itself
            call = session.prepare_request(requests.Request("GET", url, headers=dict(headers)))
        adapter = _WatchedAdapter(
            max_retries=0 if retry is None else retry, pool_maxsize=CONNECTIONS_KEPT
        )
        pool = adapter.get_connection_with_tls_context(call, True, dict(proxies))
        adapter.cert_verify(pool, call.url, True, None)  # type: ignore[no-untyped-call]
        self._pool = cast(HTTPConnectionPool, pool)
        self._retries = adapter.max_retries
        self._timeout = Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._headers = dict(call.headers)
        self._below = adapter.request_url(call, dict(proxies))

    def call(
        self,
        method: str,
        rest: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        guard: Callable[[str], None] | None = None,
    ) -> BaseHTTPResponse:
        """The answer to one call below the way's URL, its body unread: close it.

        A `guard` is shown the address of a peer that is connected. Raises one of `FAULTS`, or
        what the guard raises.
        """
        _here.sent, _here.guard = False, guard
        return self._pool.urlopen(
            method,
            self._below + rest,
            body,
            {**self._headers, **headers},
            self._retries,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
            preload_content=False,
            decode_content=False,
        )


def done_with(response: BaseHTTPResponse) -> None:
    """Close the answer, read or not; its connection goes back to the pool."""
    response.close()
    response.release_conn()
