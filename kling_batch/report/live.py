"""The page of a run that goes on: written again now and then, and never in the run's way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kling_batch.clock import Clock
from kling_batch.errors import UsageError
from kling_batch.report.page import write_report
from kling_batch.report.summary import Report

REFRESH_SECONDS = 10.0  # as often as a page that is open reloads
SHARE = 200  # a refresh that took one second is not repeated for two hundred


class LivePage:
    """Keeps the page near the truth; `look` makes the view, in the thread that touches."""

    def __init__(self, path: Path, look: Callable[[], Report], clock: Clock) -> None:
        self.path = path
        self.problem: UsageError | None = None
        self._look = look
        self._clock = clock
        self._next = clock.steady() + REFRESH_SECONDS  # before that there is nothing to see

    def touch(self) -> None:
        """Something changed: write the page, unless it was written a moment ago.

        A page that can't be written is no reason to stop a run: `problem` keeps why.
        """
        if self._clock.steady() >= self._next:
            self._write()

    def close(self) -> None:
        """The run is over: write the page as it stands."""
        self._write()

    def _write(self) -> None:
        begun = self._clock.steady()
        try:
            write_report(self.path, self._look())
            self.problem = None
        except UsageError as error:
            self.problem = error
        now = self._clock.steady()
        self._next = now + max(REFRESH_SECONDS, SHARE * (now - begun))
