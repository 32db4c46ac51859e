"""The program as its users call it: argv in; exit code, stdout and files out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kling_batch.cli.main import main
from kling_batch.clock import FastClock
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.server import RunningServer, serve


@dataclass(frozen=True)
class Outcome:
    """What one call came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Call the program in a folder of its own; every argument is one word."""
    monkeypatch.chdir(tmp_path)

    def calling(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return Outcome(code, told.out, told.err)

    return calling


@dataclass(frozen=True)
class Service:
    """The simulator on loopback, in fast time; polls of 0.05 s fit it."""

    simulator: Simulator
    server: RunningServer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that the program finds by its variables, with a key it takes."""
    simulator = Simulator(
        FastClock(200), key="ulazai_live_test", balance=10_000, submissions_per_hour=None
    )
    with serve(simulator) as server:
        monkeypatch.setenv("ULAZAI_BASE_URL", server.url)
        monkeypatch.setenv("ULAZAI_API_KEY", "ulazai_live_test")
        yield Service(simulator, server)
