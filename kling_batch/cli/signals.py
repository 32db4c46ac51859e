"""Interruption: the first signal ends a run in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from kling_batch.errors import ExitCode
from kling_batch.execution.runner import Runner


@contextmanager
def interruptible(runner: Runner, go_on: str) -> Iterator[None]:
    """The first signal ends the run in order, the second at once; either way all is on record.

    `go_on` is the command that takes it up again, which an orderly end says by itself.
    """
    seen = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            _tell_at_once(f"stopped at once; what was sent is on record\nTo go on: {go_on}")
            os._exit(int(ExitCode.INTERRUPTED))
        _tell_at_once("finishing what is being sent… (once more: stop at once)")
        runner.interrupt()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_at_once(text: str) -> None:
    # Straight to the descriptor: the handler may have cut into a write to stderr.
    with suppress(OSError):  # the terminal may be what was closed
        os.write(2, f"\n{text}\n".encode())
