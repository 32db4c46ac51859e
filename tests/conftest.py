"""Tests fail closed: no socket but loopback, no key, no long sleep, no home but their own."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def closed_in(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in ("ULAZAI_API_KEY", "ULAZAI_BASE_URL", "KLING_BATCH_PROXY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    connect, sleep = socket.socket.connect, time.sleep

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test would connect to {address}")
        connect(self, address)

    def short(seconds: float) -> None:
        assert seconds <= 1.0, f"a test would sleep for {seconds} s"
        sleep(seconds)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(time, "sleep", short)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return tmp_path
