"""Text and addresses of others made harmless to look at; figures and times as people read them."""

from __future__ import annotations

import re
from datetime import datetime, timezone, tzinfo
from urllib.parse import quote, urlsplit

_UNSHOWN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    r"\ud800-\udfff]"
)
_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f-\x9f\"'<>\\^`{|}]+\Z", re.IGNORECASE)


def shown(text: str) -> str:
    """The text with a visible sign for every character that would move the cursor or the eye."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSHOWN.sub(_sign, text.replace("\r\n", "\n"))


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def address(url: str) -> str:
    """The URL where a browser may be led to it; empty for anything but http and https."""
    if not _ADDRESS.match(url):
        return ""
    try:
        return url if urlsplit(url).hostname else ""
    except ValueError:
        return ""


def short_address(url: str) -> str:
    """The URL as a label: its host and the end of its path, without a query that may be signed."""
    if not address(url):
        return shown(url[:80])
    parts = urlsplit(url)
    end = parts.path.rstrip("/").rpartition("/")[2]
    return shown(
        f"{parts.hostname}/…/{end}" if parts.path.count("/") > 1 else f"{parts.hostname}/{end}"
    )


def link(path: str) -> str:
    """A relative path as an href."""
    return quote(path, safe="/", errors="replace")


def thousands(number: int) -> str:
    """ "12,480"."""
    return f"{number:,}"


def local_time(seconds: float, zone: tzinfo | None) -> datetime:
    """The time there; the zone None is this machine's."""
    return datetime.fromtimestamp(seconds, timezone.utc).astimezone(zone)


def moment(then: datetime) -> str:
    """ "23 Nov 2026, 22:39:32"."""
    return f"{then.day} {then:%b %Y, %H:%M:%S}"


def iso(then: datetime) -> str:
    """The same for programs, with its offset."""
    return then.isoformat(timespec="seconds")


def span(seconds: float) -> str:
    """ "45 s", "1 min 24 s", "2 h 05 min"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
