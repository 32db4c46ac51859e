"""The real transport: one call, known for certain to have left or not; and a guarded fetcher.

Two ways that never mix: the API's carries the key and follows no redirect; the fetcher's has
no key, refuses private addresses and follows redirects one by one.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, parse_url

from kling_batch.service.transport import HttpRequest, HttpResponse, NothingSent, Unanswered
from kling_batch.service.wire import FAULTS, Way, done_with, sent

WHOLE_SECONDS = 120.0
ANSWER_MAX = 8 * 1024 * 1024
CHUNK = 64 * 1024
# A download that is slower than so many bytes a second, over so many seconds, is begun anew.
SLOWEST, SLOW_AFTER = 1024, 60.0
REDIRECTS_MAX = 5
RETRY_AFTER_MAX = 20


class _BoundedRetry(Retry):
    """urllib3's retry, whose obedience to Retry-After is bounded: a worker must come back."""

    def get_retry_after(self, response: Any) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, RETRY_AFTER_MAX)


class HttpTransport:
    """The API's transport: the key in the header and redacted from answers; for many threads."""

    def __init__(self, base_url: str, key: str, proxies: Mapping[str, str] | None = None) -> None:
        self._base = base_url.rstrip("/") + "/"
        self._key = key
        self._proxies = dict(proxies or {})

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer; raises NothingSent or Unanswered. A POST goes out once, whatever happens."""
        way = None
        try:
            way = self._ways[request.method == "POST"]
            rest, body = request.path[1:], request.body or None
            response = way.call(request.method, rest, request.headers, body)
            try:
                return self._read(response)
            finally:
                done_with(response)
        except (*FAULTS, ValueError) as error:
            reason = self._redact(_reason(error))
            raise (Unanswered if way and sent() else NothingSent)(reason) from error

    @cached_property
    def _ways(self) -> tuple[Way, Way]:
        """For GET and for POST."""
        retrying = _BoundedRetry(
            total=2,
            backoff_factor=0.5,
            status_forcelist=(502, 503, 504),
            allowed_methods=("GET",),
            raise_on_status=False,
            respect_retry_after_header=True,
        )
        headers = {"authorization": f"Bearer {self._key}"}
        # A kept-alive connection may have died unseen: that would make an outcome unknown.
        once = {**headers, "connection": "close"}
        return (
            Way(self._base, headers, self._proxies, retrying),
            Way(self._base, once, self._proxies),
        )

    def _read(self, response: BaseHTTPResponse) -> HttpResponse:
        """The answer, cut at a bound of bytes and of time: what was cut will not parse."""
        body = bytearray()
        deadline = time.monotonic() + WHOLE_SECONDS
        for piece in _pieces(response, decode=True):
            body += piece
            if len(body) > ANSWER_MAX or time.monotonic() > deadline:
                break
        headers = {name: self._redact(value) for name, value in _headers(response).items()}
        clean = bytes(body).replace(self._key.encode(), b"[key]")
        return HttpResponse(response.status, headers, clean)

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
        self._ways: dict[str, Way] = {}  # by origin
        self._seen: set[str] = set()  # hosts whose addresses may be fetched from

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Fetched]:
        """The answer after at most five checked redirects; raises RefusedUrl or OSError."""
        for _ in range(REDIRECTS_MAX + 1):
            self._check(url)
            try:
                response = self._call(url, headers)
            except FAULTS as error:
                raise ConnectionError(_reason(error)) from error
            try:
                target = response.get_redirect_location()
                if target:
                    url = _joined(url, target)
                    continue
                yield Fetched(response.status, _headers(response), _chunks(response))
                return
            finally:
                done_with(response)
        raise ConnectionError("too many redirects")

    def _call(self, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        parts = parse_url(url)
        origin = f"{parts.scheme}://{parts.netloc}/"
        way = self._ways.get(origin)
        if way is None:
            way = Way(origin, {"accept-encoding": "identity"}, self._proxies)
            way = self._ways.setdefault(origin, way)  # another thread may have been quicker
        rest = parts.request_uri[1:]
        # The peer is checked once more when connected: a name may resolve anew (rebinding).
        guard = None if self._proxies else self._check_address
        return way.call("GET", rest, headers, guard=guard)

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


def _headers(response: BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.itermerged()}


def _chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
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


def _pieces(response: BaseHTTPResponse, *, decode: bool) -> Iterator[bytes]:
    """The body in pieces as they arrive: a slow one must not hold its reader past a deadline."""
    while piece := response.read1(CHUNK, decode_content=decode):
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
