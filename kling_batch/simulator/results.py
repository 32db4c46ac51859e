"""Files over HTTP: validators, ranges, and links that can expire."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qs

from kling_batch.service.transport import HttpResponse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(slots=True)
class Shelf:
    """What became of one job's file since it was made; the one part of a result that changes.

    ``serial`` counts its links, ``expired`` is so until the next status call gives a new one,
    ``revision`` counts its contents.
    """

    serial: int = 0
    expired: bool = False
    revision: int = 0

    def link(self, base: str, job: str) -> str:
        """The file's current address, signed as real ones are."""
        if self.expired:
            self.serial += 1
            self.expired = False
        return f"{base}/results/{job}.mp4?signature={self._signature(job)}"

    def opens(self, job: str, query: str) -> bool:
        """Whether a link with this query is good; one without a signature is as good as new."""
        given = parse_qs(query).get("signature", [self._signature(job)])
        return not self.expired and given == [self._signature(job)]

    def _signature(self, job: str) -> str:
        return hashlib.blake2b(f"link:{job}:{self.serial}".encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file to serve: its bytes and what tells one version from another."""

    content: bytes
    content_type: str
    version: str
    modified_at: float

    @property
    def etag(self) -> str:
        digest = hashlib.blake2b(self.version.encode(), digest_size=8)
        return f'"{digest.hexdigest()}"'

    @property
    def last_modified(self) -> str:
        return formatdate(max(0.0, self.modified_at), usegmt=True)


def serve_file(
    file: StoredFile, headers: Mapping[str, str], *, ignore_range: bool = False
) -> HttpResponse:
    """The file or the part of it that is asked for (RFC 9110, section 14): 200, 206 or 416."""
    told = {
        "content-type": file.content_type,
        "etag": file.etag,
        "last-modified": file.last_modified,
        "accept-ranges": "bytes",
    }
    size = len(file.content)
    asked = _RANGE.fullmatch(headers.get("range", "").strip())
    condition = headers.get("if-range")
    stale = condition is not None and condition not in (file.etag, file.last_modified)
    if ignore_range or stale or asked is None or asked.groups() == ("", ""):
        return HttpResponse(200, told, file.content)
    start, end = _bounds(asked[1], asked[2], size)
    if start >= size or start > end:
        return HttpResponse(416, {**told, "content-range": f"bytes */{size}"})
    told["content-range"] = f"bytes {start}-{end}/{size}"
    return HttpResponse(206, told, file.content[start : end + 1])


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte asked for; ``-n`` asks for the last n."""
    if not first:
        count = min(int(last[-18:]), size)
        return size - count, size - 1
    start = int(first[-18:])
    return start, min(int(last[-18:]), size - 1) if last else size - 1
