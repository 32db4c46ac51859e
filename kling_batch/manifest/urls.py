"""Which URLs the service may be sent: http or https, public, without a password. No look-ups."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_LENGTH = 2048
_URL = re.compile(r"(https?)://([^/?#]*)([/?#].*)?\Z", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}\.?\Z"
)
_PORT = re.compile(r"(.*?)(?::([0-9]{0,5}))?\Z", re.DOTALL)
_UNSAFE = re.compile(
    r"[\x00-\x20\x7f-\xa0\u2000-\u200f\u2028-\u202f\u2066-\u206f\u3000\\<>\"`{}|^]"
)
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)\Z")
_LOCAL_NAMES = (
    ".localhost",
    ".local",
    ".internal",
    ".intranet",
    ".lan",
    ".home.arpa",
    ".localdomain",
)
_STEM = re.compile(r"[^A-Za-z0-9._-]+")

PUBLIC_HINT = "the service fetches it from the internet: give a public http or https URL"


def looks_like_url(text: str) -> bool:
    """Whether the author meant a URL (good or bad) and not a name."""
    return _SCHEME.match(text) is not None or "/" in text


def fault(url: str, *, private: bool = False) -> tuple[str, str] | None:
    """What is wrong with the URL and the mend, or None. ``private`` admits hosts nearby."""
    found = _URL.match(url)
    if found is None:
        return _no_url(url)
    if len(url) > MAX_LENGTH:
        return f"the URL has {len(url):,} characters, at most {MAX_LENGTH:,} are allowed", ""
    if _UNSAFE.search(url):
        return "the URL holds a space or a character that must be percent-encoded", (
            "write a space as %20"
        )
    return _host_fault(found[2], private)


def _no_url(url: str) -> tuple[str, str]:
    scheme = _SCHEME.match(url)
    if scheme and not re.match(r"[A-Za-z0-9.-]+\.[A-Za-z]+:[0-9]", url):
        if url.lower().startswith(("http:", "https:")):
            return "the URL has no host", "write https://HOST/PATH"
        return f"`{scheme[0]}` URLs are not allowed, only http and https", PUBLIC_HINT
    return "this is not a URL", "a URL starts with https://"


@lru_cache(maxsize=4096)
def _host_fault(authority: str, private: bool) -> tuple[str, str] | None:
    if "@" in authority:
        return "the URL holds a user name or password", "remove what stands before the `@`"
    split = _PORT.match(authority)
    host, port = (split[1], split[2]) if split else (authority, None)
    if port is not None and (not port or not 0 < int(port) < 65536):
        return f"the URL's port `{port}` is not one", "leave it out, or give 1 to 65535"
    if not host:
        return "the URL has no host", "write https://HOST/PATH"
    if host.startswith("[") and host.endswith("]"):
        return None if private and _is_v6(host[1:-1]) else _address_fault(host[1:-1])
    if not host.isascii() or not _HOST.match(host):
        return "the URL's host is not a plain host name", "write it in ASCII (`xn--…` if need be)"
    return _name_fault(host, private)


def _name_fault(host: str, private: bool) -> tuple[str, str] | None:
    name = host.rstrip(".").lower()
    parts = name.split(".")
    if _NUMBER.match(parts[-1]):
        return _number_fault(parts, host, private)
    if private:
        return None
    if name == "localhost" or name.endswith(_LOCAL_NAMES) or len(parts) == 1:
        return f"`{host}` is not a public host", PUBLIC_HINT
    return None


def _number_fault(parts: list[str], host: str, private: bool) -> tuple[str, str] | None:
    """IPv4 as every resolver reads it: 127.1, 2130706433, 0x7f.0.0.1, 0177.0.0.1."""
    if len(parts) > 4 or not all(_NUMBER.match(part) for part in parts):
        return f"`{host}` is neither a host name nor an address", PUBLIC_HINT
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return f"`{host}` is neither a host name nor an address", PUBLIC_HINT
    *front, last = numbers
    if any(n > 255 for n in front) or last >= 256 ** (5 - len(parts)):
        return f"`{host}` is neither a host name nor an address", PUBLIC_HINT
    address = last
    for place, number in enumerate(front):
        address |= number << (24 - 8 * place)
    return None if private else _address_fault(address)


def _number(text: str) -> int:
    if len(text) > 20:
        raise ValueError(text)
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if text[0] == "0" and len(text) > 1 else int(text)


def _is_v6(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _address_fault(address: str | int) -> tuple[str, str] | None:
    import ipaddress

    try:
        found: ipaddress.IPv4Address | ipaddress.IPv6Address
        if isinstance(address, int):
            found = ipaddress.IPv4Address(address)
        else:
            found = ipaddress.IPv6Address(address)
    except ValueError:
        return f"`[{address}]` is not an address", PUBLIC_HINT
    if _is_public(found):
        return None
    shown = f"[{address}]" if isinstance(address, str) else str(found)
    return f"`{shown}` is not a public address", PUBLIC_HINT


def _is_public(address: object) -> bool:
    import ipaddress

    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if not isinstance(address, ipaddress.IPv6Address) or address.scope_id is not None:
        return False
    if address in ipaddress.IPv6Network("64:ff9b::/96"):  # NAT64 carries an IPv4 address
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is not None:
        return _is_public(inner)
    if int(address) >> 32 == 0:  # the old "IPv4-compatible" form, ::127.0.0.1
        return False
    return address.is_global and not address.is_multicast


def safe(text: str) -> str:
    """The text as a part of an id: every run of other characters is one ``-``.

    Where nothing is left of it (``雨``), eight hex digits of its hash stand for it, so that the
    part depends on the text alone.
    """
    made = _STEM.sub("-", text).strip("-._")
    if made:
        return made
    import hashlib

    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


def name_of(url: str) -> str:
    """The name that stands for a URL in ids and as ``image.name``.

    The last part of its path, percent-decoded, without the extension, made safe:
    ``https://cdn.example.com/a/Red%20knight.v2.png?x=1`` is ``Red-knight.v2``. A URL without a
    path goes by its host.
    """
    found = _URL.match(url)
    authority, rest = (found[2], found[3] or "") if found else ("", url)
    last = re.split(r"[?#]", rest, maxsplit=1)[0].rstrip("/").rpartition("/")[2]
    if "%" in last:
        from urllib.parse import unquote

        last = unquote(last)
    stem, dot, _ = last.rpartition(".")
    return safe(stem if dot and stem else last or authority)
