"""The real transport: requests, knowing for certain what left the machine; a guarded fetcher.

Two sessions that never mix: the API's carries the key and follows no redirect; the
fetcher's has no key, refuses private addresses and follows redirects one by one.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from kling_batch import __version__
from kling_batch.service.transport import HttpRequest, HttpResponse, NothingSent, Unanswered

CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 10.0, 60.0, 120.0
ANSWER_MAX = 8 * 1024 * 1024
CHUNK = 64 * 1024
# A download that is slower than so many bytes a second, over so many seconds, is begun anew.
SLOWEST, SLOW_AFTER = 1024, 60.0
REDIRECTS_MAX = 5
RETRY_AFTER_MAX = 20
USER_AGENT = f"kling-batch/{__version__}"

_wire = threading.local()


class _Watched:
    """Connection mix-in: notes the moment the first byte may leave, and looks at the peer.

    Without it, a failed POST could only be guessed to have stayed at home.
    """

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        guard: Callable[[str], None] | None = getattr(_wire, "guard", None)
        if guard is not None:
            guard(self.sock.getpeername()[0])  # type: ignore[attr-defined]

    def send(self, data: Any) -> None:
        if getattr(self, "sock", None) is None:
            self.connect()
        _wire.sent = True
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


class _BoundedRetry(Retry):
    """urllib3's retry, whose obedience to Retry-After is bounded: a worker must come back."""

    def get_retry_after(self, response: Any) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, RETRY_AFTER_MAX)


class _Session(requests.Session):
    """Follows nothing. Even unasked, requests would read a redirect's body to its end."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def _session(proxies: Mapping[str, str], retry: Retry | int) -> requests.Session:
    session = _Session()
    # ~/.netrc would replace the key and proxy variables the route, so neither is trusted unasked.
    session.trust_env = False
    session.proxies.update(proxies)
    session.headers["user-agent"] = USER_AGENT
    adapter = _WatchedAdapter(max_retries=retry)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _template(
    session: requests.Session, method: str, url: str, headers: Mapping[str, str]
) -> requests.PreparedRequest:
    """A prepared call to be copied: preparing each takes as long as all the rest of it."""
    return session.prepare_request(requests.Request(method, url, headers=dict(headers)))


def _send(session: requests.Session, call: requests.PreparedRequest) -> requests.Response:
    return session.send(
        call, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, stream=True
    )


class HttpTransport:
    """The API's transport: sessions a thread, the key in the header and redacted from answers."""

    def __init__(self, base_url: str, key: str, proxies: Mapping[str, str] | None = None) -> None:
        self._base = base_url.rstrip("/") + "/"
        self._key = key
        self._proxies = dict(proxies or {})
        self._local = threading.local()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer; raises NothingSent or Unanswered. A POST goes out once, whatever happens."""
        _wire.sent, _wire.guard = False, None
        try:
            session, template = self._sessions()[request.method == "POST"]
            call = template.copy()
            call.url = f"{template.url}{request.path[1:]}"
            call.headers.update(request.headers)
            call.prepare_body(request.body or None, None)
            with _send(session, call) as response:
                return self._read(response)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            reason = self._redact(_reason(error))
            raise (Unanswered if _wire.sent else NothingSent)(reason) from error

    def _sessions(self) -> tuple[tuple[requests.Session, requests.PreparedRequest], ...]:
        """For GET and for POST a session with what requests makes of a call's fixed parts."""
        pair: tuple[tuple[requests.Session, requests.PreparedRequest], ...] | None
        pair = getattr(self._local, "pair", None)
        if pair is None:
            retrying = _BoundedRetry(
                total=2,
                backoff_factor=0.5,
                status_forcelist=(502, 503, 504),
                allowed_methods=("GET",),
                raise_on_status=False,
                respect_retry_after_header=True,
            )
            gets, posts = _session(self._proxies, retrying), _session(self._proxies, 0)
            # A kept-alive connection may have died unseen: that would make an outcome unknown.
            posts.headers["connection"] = "close"
            key = {"authorization": f"Bearer {self._key}"}
            pair = (
                (gets, _template(gets, "GET", self._base, key)),
                (posts, _template(posts, "POST", self._base, key)),
            )
            self._local.pair = pair
        return pair

    def _read(self, response: requests.Response) -> HttpResponse:
        """The answer, cut at a bound of bytes and of time: what was cut will not parse."""
        body = bytearray()
        deadline = time.monotonic() + WHOLE_SECONDS
        for piece in _pieces(response, decode=True):
            body += piece
            if len(body) > ANSWER_MAX or time.monotonic() > deadline:
                break
        headers = {name.lower(): self._redact(value) for name, value in response.headers.items()}
        clean = bytes(body).replace(self._key.encode(), b"[key]")
        return HttpResponse(response.status_code, headers, clean)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[key]")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer to a download: its head, and the body as it comes. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class RefusedUrl(Exception):
    """A URL that must not be fetched: its scheme, or the address behind it."""


class MediaFetcher:
    """Downloads without the key and from public addresses only.

    `loopback`: the service is on this machine, so its results may be too.
    """

    def __init__(self, *, loopback: bool = False, proxies: Mapping[str, str] | None = None) -> None:
        self._loopback = loopback
        self._proxies = dict(proxies or {})
        self._local = threading.local()
        self._seen: set[str] = set()  # hosts whose addresses may be fetched from

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Fetched]:
        """The answer after at most five checked redirects; raises RefusedUrl or OSError."""
        session, template = self._session()
        for _ in range(REDIRECTS_MAX + 1):
            self._check(url)
            _wire.sent = False
            # The peer is checked once more when connected: a name may resolve anew (rebinding).
            _wire.guard = None if self._proxies else self._check_address
            try:
                call = template.copy()
                call.prepare_url(url, None)
                call.headers.update(headers)
                response = _send(session, call)
            except requests.RequestException as error:
                raise ConnectionError(_reason(error)) from error
            with response:
                target = response.headers.get("location")
                if response.is_redirect and target:
                    url = _joined(url, target)
                    continue
                yield Fetched(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    _chunks(response),
                )
                return
        raise ConnectionError("too many redirects")

    def _session(self) -> tuple[requests.Session, requests.PreparedRequest]:
        pair: tuple[requests.Session, requests.PreparedRequest] | None
        pair = getattr(self._local, "pair", None)
        if pair is None:
            session = _session(self._proxies, 0)
            plainly = {"accept-encoding": "identity"}
            pair = session, _template(session, "GET", "http://127.0.0.1/", plainly)
            self._local.pair = pair
        return pair

    def _check(self, url: str) -> None:
        """Refuse what must not be fetched.

        A host's addresses are looked up once: where it leads later is seen when it is connected.
        """
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise RefusedUrl(f"{parts.scheme or 'no'}: URLs are not fetched")
            if parts.hostname in self._seen:
                return
            addresses = [found[4][0] for found in socket.getaddrinfo(parts.hostname, None)]
        except ValueError as error:  # no host that can be: [::1, or a label of a hundred letters
            raise RefusedUrl("the result's URL is none") from error
        except OSError:
            return  # a name that does not resolve fails when it is connected
        for address in addresses:
            self._check_address(str(address))
        if not self._proxies:
            self._seen.add(parts.hostname)

    def _check_address(self, address: str) -> None:
        found = ipaddress.ip_address(address.partition("%")[0])
        found = getattr(found, "ipv4_mapped", None) or found
        public = found.is_global and not found.is_multicast
        if not public and not (self._loopback and found.is_loopback):
            raise RefusedUrl(f"the address {found} is not public")


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError as error:
        raise RefusedUrl("the redirect of the result's URL leads nowhere") from error


def _chunks(response: requests.Response) -> Iterator[bytes]:
    begun, size = time.monotonic(), 0
    try:
        # As it is sent: a body that unpacks to a thousand times its size stays small.
        for piece in _pieces(response, decode=False):
            yield piece
            size += len(piece)
            took = time.monotonic() - begun
            if took > SLOW_AFTER and size < SLOWEST * took:
                raise ConnectionError("the result came too slowly")
    except HTTPError as error:
        raise ConnectionError(_reason(error)) from error


def _pieces(response: requests.Response, *, decode: bool) -> Iterator[bytes]:
    """The body in pieces as they arrive: a slow one must not hold its reader past a deadline."""
    while piece := response.raw.read1(CHUNK, decode_content=decode):
        yield piece


def _reason(error: BaseException) -> str:
    """A short reason, without URLs: their queries may be signatures."""
    inner: BaseException = error
    while True:
        deeper = getattr(inner, "reason", None)
        if not isinstance(deeper, BaseException) and inner.args:
            deeper = next((one for one in inner.args if isinstance(one, BaseException)), None)
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    name = type(inner).__name__
    known = {
        "NewConnectionError": "the connection was refused",
        "ConnectionRefusedError": "the connection was refused",
        "NameResolutionError": "the host's name was not found",
        "ConnectTimeoutError": "no connection in time",
        "ReadTimeoutError": "no answer in time",
        "TimeoutError": "no answer in time",
        "ConnectionResetError": "the connection was reset",
        "RemoteDisconnected": "the connection was closed without an answer",
        "IncompleteRead": "the answer was cut short",
        "SSLCertVerificationError": "the certificate is not trusted",
        "SSLError": "TLS failed",
    }
    return known.get(name, name)
