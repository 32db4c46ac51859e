"""Where a command finds itself: the service's address, the key, the folders. All from outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from kling_batch.errors import KeyRefused, UsageError
from kling_batch.structs import dataclass

DEFAULT_URL = "https://ulazai.com"
KEY_VARIABLE = "ULAZAI_API_KEY"
URL_VARIABLE = "ULAZAI_BASE_URL"
PROXY_VARIABLE = "KLING_BATCH_PROXY"


@dataclass(frozen=True, slots=True)
class Address:
    """The service's base URL, without a slash at its end; whether a flag gave it."""

    url: str
    by_flag: bool = False

    @property
    def is_default(self) -> bool:
        """Whether it is the service itself."""
        return self.url == DEFAULT_URL

    @property
    def on_loopback(self) -> bool:
        """Whether the service is on this machine: a simulator, whose inputs and results are too."""
        return _is_loopback(urlsplit(self.url).hostname or "")


def find_address(flag: str | None) -> Address:
    """The flag's address, the variable's, or the service's own; raises UsageError."""
    url = (flag or os.environ.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
    source = "--base-url" if flag else URL_VARIABLE
    no_address = UsageError(
        f"{source} is no address of a service: {url}", f"like this: {DEFAULT_URL}"
    )
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port out of range is told only when it is asked for
    except ValueError:
        raise no_address from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise no_address
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UsageError(
            f"{source} would send the key unencrypted: {url}", "use https outside of this machine"
        )
    return Address(url, by_flag=bool(flag))


def find_key(folder: Path) -> str:
    """The key from the environment, or from a `.env` beside the manifest; raises KeyRefused."""
    key = os.environ.get(KEY_VARIABLE)
    source = KEY_VARIABLE
    if key is None and (folder / ".env").is_file():
        from dotenv import dotenv_values

        source = str(folder / ".env")
        try:
            key = dotenv_values(folder / ".env", interpolate=False).get(KEY_VARIABLE)
        except (OSError, UnicodeDecodeError):
            raise KeyRefused(
                f"{source} can't be read as text", f"write it anew: {KEY_VARIABLE}=…"
            ) from None
    key = (key or "").strip()
    for prefix in ("Bearer ", "Token "):
        key = key.removeprefix(prefix).strip()
    if not key:
        raise KeyRefused(
            "no key: the service needs one",
            f"export {KEY_VARIABLE}=…, or write it to a .env beside the manifest;"
            " --simulate needs none",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise KeyRefused(
            f"the key in {source} holds characters that no key has", "copy it once more"
        )
    return key


def find_proxies() -> Mapping[str, str]:
    """The proxy that the user names for this program; the system's variables are not trusted."""
    proxy = os.environ.get(PROXY_VARIABLE)
    return {"http": proxy, "https": proxy} if proxy else {}


def accounts_folder() -> Path:
    """Where the accounts' ledgers lie: the user's state folder."""
    from platformdirs import user_state_path

    return user_state_path("kling-batch", appauthor=False) / "accounts"


def this_command(command: str, *words: str) -> str:
    """A command as the user would type it."""
    import shlex

    return shlex.join(["kling-batch", command, *words])


def interactive() -> bool:
    """Whether a question can be asked and answered here."""
    return sys.stdin is not None and sys.stdin.isatty()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
